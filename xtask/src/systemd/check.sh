# Runs under systemd, as a service beside weir.service: reloads and upgrades it in every way, and
# looks at what the manager says of it.
set -u
passed=0
failed=0
check() { # what, whether
    if [ "$2" = yes ]; then
        passed=$((passed + 1)); echo "ok      $1"
    else
        failed=$((failed + 1)); echo "NOT OK  $1: $2"
    fi
}
same() { # what, found, expected
    if [ "$2" = "$3" ]; then check "$1" yes; else check "$1" "found \"$2\", expected \"$3\""; fi
}
show() { systemctl show weir -p "$1" --value; }
main() { show MainPID; }
# Waits up to 20 s for a command to be well.
until_well() {
    n=0
    while [ $n -lt 200 ]; do
        if "$@"; then return 0; fi
        n=$((n + 1)); sleep 0.1
    done
    return 1
}
is_main() { [ "$(main)" = "$1" ]; }
is_other() { [ "$(main)" != "$1" ] && [ "$(main)" != 0 ]; }
is_gone() { [ ! -d "/proc/$1" ]; }
is_waiting() { [ "$(show StatusText | grep -c "$1")" != 0 ]; }
is_state() { [ "$(show ActiveState)" = "$1" ]; }

systemctl start weir
same "the unit is active once READY was told" "$(show ActiveState)/$(show SubState)" active/running
since=$(show ActiveEnterTimestampMonotonic)
first=$(main)
same "it runs as the service user" "$(stat -c %U "/proc/$first")" weir
answer() { curl -s -o /dev/null --max-time 5 -w '%{http_code}' http://127.0.0.1/; }
same "port 80 answers" "$(answer)" 301

: > /check/asking
(
    while [ -e /check/asking ]; do
        code=$(answer)
        [ "$code" = 301 ] && echo good || echo "bad $code"
    done > /check/asked
) &
asker=$!

still() { # after what
    same "$1: the unit is active" "$(show ActiveState)/$(show SubState)" active/running
    same "$1: it never left that state" "$(show ActiveEnterTimestampMonotonic)" "$since"
    same "$1: it was not restarted" "$(show NRestarts)" 0
    same "$1: the main process runs as the service user" "$(stat -c %U "/proc/$(main)")" weir
}

for turn in 1 2 3; do
    before=$(main)
    systemctl reload weir && check "reload $turn: accepted" yes || check "reload $turn: accepted" no
    same "reload $turn: the main process stays" "$(main)" "$before"
    still "reload $turn"

    told=$(weir upgrade 2>&1) && check "upgrade $turn: done" yes || check "upgrade $turn: done" "$told"
    until_well is_other "$before" && check "upgrade $turn: MAINPID is told" yes \
        || check "upgrade $turn: MAINPID is told" "still $before"
    same "upgrade $turn: it is the process that was named" "$(main)" \
        "$(echo "$told" | sed -n 's/^process \([0-9]*\) .*/\1/p')"
    still "upgrade $turn"
    until_well is_gone "$before" && check "upgrade $turn: the one before ends" yes \
        || check "upgrade $turn: the one before ends" "$before is there"
    still "upgrade $turn, after the end of the one before"
done

before=$(main)
systemctl kill --kill-whom=main --signal=USR2 weir
until_well is_other "$before" && check "USR2: MAINPID is told" yes || check "USR2: MAINPID is told" no
still "USR2"
until_well is_gone "$before"

cp /usr/bin/weir /check/weir
printf '#!/bin/sh\nexit 3\n' > /check/bad
chmod 755 /check/bad
before=$(main)
mv /check/bad /usr/bin/weir
told=$(/check/weir upgrade 2>&1) && check "a bad program is refused" "$told" || check "a bad program is refused" yes
install -m 0755 /check/weir /usr/bin/weir
same "a bad program: the main process stays" "$(main)" "$before"
still "a bad program"

# WatchdogSec of the unit is 30 s here too: the process of the last upgrade is the one that reports.
sleep 35
still "the watchdog's time has passed"

# The new process dies moments after it was ready: the old one says that it is the service again.
before=$(main)
weir upgrade > /dev/null
until_well is_other "$before"
kill -KILL "$(main)"
until_well is_main "$before" && check "a new process that dies: MAINPID is the old one's again" yes \
    || check "a new process that dies: MAINPID is the old one's again" "$(main), not $before"
same "a new process that dies: the unit is active" "$(show ActiveState)/$(show SubState)" active/running
same "a new process that dies: it was not restarted" "$(show NRestarts)" 0
until_well answer > /dev/null
same "a new process that dies: port 80 answers" "$(answer)" 301

rm /check/asking
wait $asker
good=$(grep -c good /check/asked)
# Connections of the process that was killed are lost with it.
bad=$(grep -c bad /check/asked)
echo "requests: $good answered, $bad not"
[ "$good" -gt 100 ] && check "requests were asked all the time" yes || check "requests were asked" "$good"
[ "$bad" -le 1 ] && check "none is lost but by the kill" yes || check "none is lost but by the kill" "$bad"

last=$(main)
systemctl stop weir
same "stop: the unit is inactive" "$(show ActiveState)/$(show Result)" inactive/success
is_gone "$last" && check "stop: no process is left" yes || check "stop: no process is left" no
[ $failed = 0 ] || journalctl -u weir --no-pager -o short-monotonic | tail -n 80
echo "$passed passed, $failed failed"
systemctl exit $([ $failed = 0 ] && echo 0 || echo 1)
