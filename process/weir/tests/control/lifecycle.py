"""A whole life of every object, by the official client for Python as it is published.

Run with CLOUDFLARE_BASE_URL, CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID; prints the number of
calls. Every reply is checked against the client's own models.
"""

import os

import cloudflare
from cloudflare import Cloudflare

calls = 0


def count(response):
    global calls
    calls += 1


import httpx

client = Cloudflare(
    _strict_response_validation=True,
    http_client=httpx.Client(event_hooks={"response": [count]}, follow_redirects=True),
)
account = os.environ["CLOUDFLARE_ACCOUNT_ID"]


def refused(error, code, call, pointer=None):
    before = calls
    try:
        call()
    except error as found:
        codes = [one.code for one in found.errors]
        assert code in codes, f"{codes} instead of {code}: {found}"
        if pointer is not None:
            raw = found.response.json()["errors"]
            pointers = [one.get("source", {}).get("pointer") for one in raw]
            assert pointer in pointers, f"{pointers} instead of {pointer}"
        assert calls == before + 1, "a call that fails the same way each time was repeated"
        return
    raise AssertionError(f"not refused with {code}")


def same(found, sent):
    """What was sent comes back, and nothing beside it but what only the server sets."""
    raw = found.model_dump(mode="json", exclude_unset=True, by_alias=True)
    for name, value in sent.items():
        assert raw.get(name) == value, f"{name}: {raw.get(name)!r} instead of {value!r}"
    return raw


def accounts_and_zones():
    assert client.user.tokens.verify().status == "active"
    assert client.accounts.tokens.verify(account_id=account).status == "active"
    user = client.user.get()
    assert user.email
    client.user.edit(first_name="Ada", last_name=None)
    assert client.user.get().first_name == "Ada"
    assert account in [one.id for one in client.accounts.list()]
    other = client.accounts.create(name="other", type="standard")
    renamed = client.accounts.update(account_id=other.id, id=other.id, name="another", type="standard")
    assert renamed.name == client.accounts.get(account_id=other.id).name == "another"
    zone = client.zones.create(account={"id": account}, name="example.com", type="full")
    assert zone.account.id == account and zone.name == "example.com"
    refused(
        cloudflare.BadRequestError,
        1003,
        lambda: client.zones.create(account={"id": account}, name="example.com"),
    )
    refused(
        cloudflare.BadRequestError,
        1002,
        lambda: client.zones.create(account={"id": account}, name="not a name"),
        "/name",
    )
    assert client.zones.edit(zone_id=zone.id, paused=True).paused is True
    assert client.zones.get(zone_id=zone.id).paused is True
    for index in range(60):
        client.zones.create(account={"id": account}, name=f"n{index}.example.org")
    names = [one.name for one in client.zones.list(per_page=5)]
    assert len(names) == len(set(names)) == 61, names
    assert [one.id for one in client.zones.list(name="example.com")] == [zone.id]
    for one in list(client.zones.list(name="ends_with:.example.org", per_page=50)):
        client.zones.delete(zone_id=one.id)
    assert len(list(client.zones.list())) == 1
    client.accounts.delete(account_id=other.id)
    refused(cloudflare.NotFoundError, 1001, lambda: client.accounts.get(account_id=other.id))
    refused(
        cloudflare.APIStatusError, 1005, lambda: client.accounts.delete(account_id=account)
    )
    return zone.id


def monitors():
    sent = {
        "type": "https",
        "description": "Login page",
        "method": "GET",
        "path": "/health",
        "header": {"Host": ["example.com"], "X-App-ID": ["abc123"]},
        "port": 8443,
        "load_balancer_monitor_timeout": 3,
        "retries": 1,
        "interval": 90,
        "expected_body": "alive",
        "expected_codes": "2xx",
        "follow_redirects": True,
        "allow_insecure": True,
        "consecutive_up": 2,
        "consecutive_down": 2,
    }
    api = client.load_balancers.monitors
    made = api.create(account_id=account, **sent)
    # The client has a `timeout` of its own.
    sent["timeout"] = sent.pop("load_balancer_monitor_timeout")
    same(made, sent)
    same(api.get(made.id, account_id=account), sent)
    assert [one.id for one in api.list(account_id=account)] == [made.id]
    changed = api.edit(made.id, account_id=account, description="changed", expected_body="")
    same(changed, {**sent, "description": "changed", "expected_body": ""})
    small = {"type": "tcp", "port": 80}
    raw = same(api.update(made.id, account_id=account, **small), small)
    assert "path" not in raw, raw
    refused(
        cloudflare.BadRequestError,
        1002,
        lambda: api.create(account_id=account, type="http", interval=5),
        "/interval",
    )
    refused(
        cloudflare.NotFoundError, 1001, lambda: api.get("0" * 32, account_id=account)
    )
    return made.id


def monitor_groups(monitor):
    api = client.load_balancers.monitor_groups
    member = {
        "monitor_id": monitor,
        "enabled": True,
        "monitoring_only": False,
        "must_be_healthy": True,
    }
    made = api.create(account_id=account, description="group", members=[member])
    assert made.members[0].monitor_id == monitor
    assert [one.id for one in api.list(account_id=account)] == [made.id]
    edited = api.edit(
        made.id, account_id=account, description="other", members=[member]
    )
    assert edited.description == "other"
    api.update(made.id, account_id=account, description="group", members=[member])
    assert api.get(made.id, account_id=account).description == "group"
    refused(
        cloudflare.APIStatusError,
        1005,
        lambda: api.create(
            account_id=account,
            description="x",
            members=[{**member, "monitor_id": "0" * 32}],
        ),
    )
    references = list(client.load_balancers.monitors.references.get(monitor, account_id=account))
    assert [(one.resource_id, one.resource_type) for one in references] == [
        (made.id, "monitor_group")
    ]
    api.references.get(made.id, account_id=account)
    refused(
        cloudflare.APIStatusError,
        1005,
        lambda: client.load_balancers.monitors.delete(monitor, account_id=account),
    )
    assert api.delete(made.id, account_id=account).description == "group"


def pools(monitor):
    api = client.load_balancers.pools
    sent = {
        "name": "primary-dc-1",
        "description": "Primary data center",
        "enabled": True,
        "minimum_origins": 1,
        "monitor": monitor,
        "latitude": 55.0,
        "longitude": -12.5,
        "load_shedding": {
            "default_percent": 0.0,
            "default_policy": "random",
            "session_percent": 0.0,
            "session_policy": "hash",
        },
        "notification_email": "someone@example.com",
        "notification_filter": {"origin": {"disable": True, "healthy": None}},
        "origin_steering": {"policy": "random"},
        "origins": [
            {
                "name": "app-server-1",
                "address": "192.0.2.1",
                "enabled": True,
                "weight": 0.6,
                "header": {"Host": ["example.com"]},
            },
            {"name": "app-server-2", "address": "192.0.2.2", "enabled": True, "weight": 0.4},
        ],
    }
    made = api.create(account_id=account, **sent)
    same(made, sent)
    same(api.get(made.id, account_id=account), sent)
    second = api.create(
        account_id=account, name="secondary", origins=[{"name": "o", "address": "192.0.2.9"}]
    )
    raw = second.model_dump(mode="json", exclude_unset=True)
    assert "header" not in raw["origins"][0], "what was not sent came back"
    assert [one.id for one in api.list(account_id=account)] == [made.id, second.id]
    assert [one.id for one in api.list(account_id=account, monitor=monitor)] == [made.id]
    edited = api.edit(made.id, account_id=account, load_shedding=None, enabled=False)
    assert edited.enabled is False and edited.origins[1].weight == 0.4
    api.update(made.id, account_id=account, **sent)
    bulk = list(api.bulk_edit(account_id=account, notification_email=""))
    assert len(bulk) == 2 and bulk[0].notification_email == ""
    assert api.health.get(made.id, account_id=account) is not None
    preview = api.health.create(made.id, account_id=account, type="http", path="/")
    assert made.id in preview.pools
    result = client.load_balancers.previews.get(preview.preview_id, account_id=account)
    assert made.id in result
    client.load_balancers.monitors.previews.create(monitor, account_id=account, type="http")
    referral = list(api.references.get(made.id, account_id=account))
    assert [one.resource_id for one in referral] == [monitor]
    refused(
        cloudflare.BadRequestError,
        1002,
        lambda: api.create(account_id=account, name="bad name", origins=[]),
        "/name",
    )
    refused(
        cloudflare.BadRequestError,
        1002,
        lambda: api.create(
            account_id=account,
            name="x",
            origins=[{"name": "o", "address": "192.0.2.9"}],
            monitor="0" * 32,
        ),
        "/monitor",
    )
    refused(
        cloudflare.APIStatusError,
        1005,
        lambda: client.load_balancers.monitors.delete(monitor, account_id=account),
    )
    return made.id, second.id


def load_balancers(zone, first, second):
    api = client.load_balancers
    sent = {
        "name": "www.example.com",
        "description": "Load balancer for www.example.com",
        "enabled": True,
        "proxied": True,
        "ttl": 30.0,
        "default_pools": [first, second],
        "fallback_pool": first,
        "steering_policy": "random",
        "session_affinity": "cookie",
        "session_affinity_ttl": 1800.0,
        "session_affinity_attributes": {"samesite": "Auto", "secure": "Auto", "drain_duration": 100.0},
        "adaptive_routing": {"failover_across_pools": True},
        "location_strategy": {"mode": "resolver_ip", "prefer_ecs": "always"},
        "random_steering": {"default_weight": 0.2, "pool_weights": {first: 0.3}},
        "region_pools": {"ENAM": [first], "WNAM": [second]},
        "country_pools": {"GB": [first]},
        "pop_pools": {"LAX": [second]},
        "rules": [
            {
                "name": "to the second",
                "condition": 'http.request.uri.path contains "/testing"',
                "disabled": False,
                "priority": 0,
                "terminates": True,
                "overrides": {"default_pools": [second]},
            }
        ],
    }
    create = lambda **more: api.create(zone_id=zone, **{**sent, **more})
    made = create()
    same(made, sent)
    assert made.zone_name == "example.com"
    same(api.get(made.id, zone_id=zone), sent)
    assert [one.id for one in api.list(zone_id=zone)] == [made.id]
    edited = api.edit(made.id, zone_id=zone, default_pools=[second], rules=[])
    assert edited.default_pools == [second] and edited.rules == []
    small = {
        "name": "www.example.com",
        "default_pools": [first],
        "fallback_pool": second,
    }
    replaced = same(api.update(made.id, zone_id=zone, **small), small)
    assert "region_pools" not in replaced or replaced["region_pools"] in ({}, None), replaced
    refused(cloudflare.BadRequestError, 1003, create, "/name")
    refused(cloudflare.BadRequestError, 1002, lambda: create(name="www.example.org"), "/name")
    refused(
        cloudflare.BadRequestError,
        1002,
        lambda: create(name="a.example.com", default_pools=["0" * 32]),
        "/default_pools/0",
    )
    refused(
        cloudflare.APIStatusError,
        1005,
        lambda: client.load_balancers.pools.delete(second, account_id=account),
    )
    private = api.create(
        account_id=account, name="private.internal", default_pools=[first], fallback_pool=first
    )
    found = [one.id for one in api.list(account_id=account)]
    assert found == [private.id], found
    api.delete(private.id, account_id=account)
    found = client.load_balancers.searches.list(account_id=account, query="PRIMARY", references="*")
    names = [row.resource_name for page in found for row in page.resources]
    assert names == ["primary-dc-1"], names
    api.regions.list(account_id=account)
    api.regions.get("WNAM", account_id=account)
    refused(cloudflare.NotFoundError, 1001, lambda: api.get("f" * 32, zone_id=zone))
    assert api.delete(made.id, zone_id=zone).id == made.id


def healthchecks(zone):
    api = client.healthchecks
    made = api.create(
        zone_id=zone,
        name="server-1",
        address="www.example.com",
        type="HTTPS",
        check_regions=["WEU", "ENAM"],
        http_config={"path": "/health", "port": 443, "expected_codes": ["2xx", "302"]},
        interval=60,
        retries=2,
    )
    assert made.name == "server-1" and made.http_config.expected_codes == ["2xx", "302"]
    assert [one.id for one in api.list(zone_id=zone)] == [made.id]
    edited = api.edit(made.id, zone_id=zone, name="server-1", address="www.example.com", suspended=True)
    assert edited.suspended is True and edited.status == "suspended"
    api.update(made.id, zone_id=zone, name="server-1", address="www.example.net")
    assert api.get(made.id, zone_id=zone).address == "www.example.net"
    preview = api.previews.create(zone_id=zone, name="p", address="www.example.com")
    api.previews.get(preview.id, zone_id=zone)
    api.previews.delete(preview.id, zone_id=zone)
    refused(
        cloudflare.BadRequestError, 1002, lambda: api.create(zone_id=zone, name="x", address="")
    )
    assert api.delete(made.id, zone_id=zone).id == made.id


def alerting():
    api = client.alerting
    assert api.available_alerts.list(account_id=account)
    secret = "correct horse battery staple"
    hook = api.destinations.webhooks.create(
        account_id=account, name="pager", url="https://hooks.example.com/x", secret=secret
    )
    seen = api.destinations.webhooks.get(hook.id, account_id=account)
    assert seen.url == "https://hooks.example.com/x" and seen.type == "generic"
    assert secret not in seen.model_dump_json()
    api.destinations.webhooks.update(
        hook.id, account_id=account, name="pager", url="https://hooks.example.com/y"
    )
    assert [one.id for one in api.destinations.webhooks.list(account_id=account)] == [hook.id]
    policy = api.policies.create(
        account_id=account,
        name="pools",
        alert_type="load_balancing_health_alert",
        enabled=True,
        mechanisms={"webhooks": [{"id": hook.id}]},
        filters={"new_health": ["Unhealthy"]},
    )
    assert api.policies.get(policy.id, account_id=account).name == "pools"
    assert [one.id for one in api.policies.list(account_id=account)] == [policy.id]
    api.policies.update(policy.id, account_id=account, description="d")
    assert list(api.history.list(account_id=account)) == []
    refused(
        cloudflare.APIStatusError,
        1005,
        lambda: api.destinations.webhooks.delete(hook.id, account_id=account),
    )
    api.policies.delete(policy.id, account_id=account)
    api.destinations.webhooks.delete(hook.id, account_id=account)
    refused(
        cloudflare.NotFoundError,
        1001,
        lambda: api.destinations.webhooks.get(hook.id, account_id=account),
    )


def errors():
    stranger = Cloudflare(api_token="x" * 40)
    before = calls
    for call in (
        lambda: stranger.zones.list(),
        lambda: client.load_balancers.pools.list(account_id="0" * 31 + "1"),
    ):
        try:
            call()
            raise AssertionError("not refused")
        except (cloudflare.PermissionDeniedError, cloudflare.NotFoundError):
            pass
    try:
        client.waiting_rooms.list(account_id=account)
        raise AssertionError("not refused")
    except cloudflare.NotFoundError as found:
        assert found.errors[0].code == 7003
    keyed = Cloudflare(
        api_token=None, api_email="operator@weir.invalid", api_key=os.environ["CLOUDFLARE_API_TOKEN"]
    )
    assert list(keyed.accounts.list())
    assert client.ips.list() is not None


zone = accounts_and_zones()
monitor = monitors()
monitor_groups(monitor)
first, second = pools(monitor)
load_balancers(zone, first, second)
healthchecks(zone)
alerting()
errors()
for pool in (first, second):
    assert client.load_balancers.pools.delete(pool, account_id=account).id == pool
assert client.load_balancers.monitors.delete(monitor, account_id=account).id == monitor
client.zones.delete(zone_id=zone)
print(calls)
