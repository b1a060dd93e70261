# Runs in namespaces of its own for mounts, processes, names, IPC, network and control groups: makes
# the tree ROOT the whole world of what follows, and starts systemd there as process 1.
#
# Nothing of the machine's own tree is in sight when systemd starts, which tidies up /tmp, /run and
# /var; what it could change of the kernel is read-only or a right that it does not have.
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc -o nosuid,nodev,noexec proc proc
for path in proc/sys proc/sysrq-trigger proc/irq proc/bus; do
    [ -e "$path" ] || continue
    mount --bind "$path" "$path"
    mount -o remount,bind,ro "$path"
done
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o nosuid,mode=755,size=16m tmpfs dev
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o nosuid,nodev,mode=1777,size=64m tmpfs dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755,size=64m tmpfs run
mount -t tmpfs -o nosuid,nodev,mode=1777,size=64m tmpfs tmp
mkdir -p before
pivot_root . before
# The shell's own program lies in the tree before: it is let go with the last process that uses it.
cd /
umount -l /before
rmdir /before
hostname weir-under-systemd
exec env -i container=weir PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set -sys_time,-sys_module,-sys_boot,-sys_rawio,-syslog,-mknod,-audit_control \
    /lib/systemd/systemd --system --unit=weir-check.target --show-status=no --log-target=null
