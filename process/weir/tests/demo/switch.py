"""Switches a pool on or off, by the official client for Python as it is published.

Run with the variables that `weir demo --fleet` prints, the name of a pool, and `on` or `off`.
"""

import os
import sys

from cloudflare import Cloudflare

client = Cloudflare(_strict_response_validation=True)
account = os.environ["CLOUDFLARE_ACCOUNT_ID"]
name, wanted = sys.argv[1], sys.argv[2] == "on"
pools = client.load_balancers.pools
[pool] = [one for one in pools.list(account_id=account) if one.name == name]
changed = pools.edit(pool.id, account_id=account, enabled=wanted)
assert changed.enabled is wanted
assert client.zones.get(zone_id=os.environ["CLOUDFLARE_ZONE_ID"]).name == "example.test"
