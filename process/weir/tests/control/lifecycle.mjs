// A whole life of every object, by the official client for Node as it is published.
//
// Run as `node lifecycle.mjs FOLDER`, where FOLDER holds node_modules, with CLOUDFLARE_BASE_URL,
// CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID; prints the number of calls.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.join(path.resolve(process.argv[2]), 'x.js'));
const Cloudflare = require('cloudflare');

let calls = 0;
const counted = (...all) => {
  calls += 1;
  return fetch(...all);
};
const client = new Cloudflare({ fetch: counted });
const account_id = process.env.CLOUDFLARE_ACCOUNT_ID;

async function refused(kind, code, call) {
  const before = calls;
  await assert.rejects(call, (found) => {
    assert.ok(found instanceof kind, `${found.constructor.name}: ${found.message}`);
    assert.ok(found.errors.some((one) => one.code === code), JSON.stringify(found.errors));
    return true;
  });
  assert.equal(calls, before + 1, 'a call that fails the same way each time was repeated');
}

function same(found, sent) {
  for (const [name, value] of Object.entries(sent)) assert.deepEqual(found[name], value, name);
}

async function all(list) {
  const rows = [];
  for await (const row of list) rows.push(row);
  return rows;
}

const balancing = client.loadBalancers;
assert.equal((await client.user.tokens.verify()).status, 'active');
assert.ok((await client.user.get()).email);
assert.ok((await all(client.accounts.list())).some((one) => one.id === account_id));

const zone = await client.zones.create({ account: { id: account_id }, name: 'node.example' });
const zone_id = zone.id;
for (let n = 0; n < 23; n += 1) {
  await client.zones.create({ account: { id: account_id }, name: `z${n}.node.example` });
}
assert.equal((await all(client.zones.list({ per_page: 5 }))).length, 24);
assert.equal((await client.zones.edit({ zone_id, paused: true })).paused, true);
await refused(Cloudflare.BadRequestError, 1003, () =>
  client.zones.create({ account: { id: account_id }, name: 'node.example' }));

const monitorSent = { type: 'https', path: '/health', expected_codes: '2xx', interval: 60,
  retries: 2, timeout: 5, header: { Host: ['node.example'] }, description: 'node' };
const monitor = await balancing.monitors.create({ account_id, ...monitorSent });
same(monitor, monitorSent);
same(await balancing.monitors.edit(monitor.id, { account_id, path: '/other' }), { ...monitorSent, path: '/other' });
same(await balancing.monitors.update(monitor.id, { account_id, ...monitorSent }), monitorSent);
await refused(Cloudflare.BadRequestError, 1002, () =>
  balancing.monitors.create({ account_id, type: 'http', interval: 1 }));

const poolSent = { name: 'node-pool', monitor: monitor.id, enabled: true,
  origins: [{ name: 'o', address: '192.0.2.1', enabled: true, weight: 0.5 }] };
const pool = await balancing.pools.create({ account_id, ...poolSent });
same(pool, poolSent);
same(await balancing.pools.edit(pool.id, { account_id, enabled: false }), { ...poolSent, enabled: false });
same(await balancing.pools.update(pool.id, { account_id, ...poolSent }), poolSent);
assert.equal((await all(balancing.pools.list({ account_id }))).length, 1);
assert.ok(await balancing.pools.health.get(pool.id, { account_id }));
const preview = await balancing.pools.health.create(pool.id, { account_id, type: 'http' });
assert.ok(await balancing.previews.get(preview.preview_id, { account_id }));
assert.equal((await all(balancing.pools.references.get(pool.id, { account_id }))).length, 1);
assert.equal((await all(balancing.pools.bulkEdit({ account_id, notification_email: '' }))).length, 1);

const sent = { name: 'www.node.example', default_pools: [pool.id], fallback_pool: pool.id,
  proxied: true, steering_policy: 'off', region_pools: { WEU: [pool.id] } };
const balancer = await balancing.create({ zone_id, ...sent });
same(balancer, sent);
same(await balancing.edit(balancer.id, { zone_id, proxied: false }), { ...sent, proxied: false });
same(await balancing.update(balancer.id, { zone_id, ...sent }), sent);
assert.equal((await all(balancing.list({ zone_id }))).length, 1);
assert.equal((await all(balancing.searches.list({ account_id, query: 'node' }))).length, 1);
assert.ok(await balancing.regions.list({ account_id }));
await refused(Cloudflare.APIError, 1005, () => balancing.pools.delete(pool.id, { account_id }));
await refused(Cloudflare.NotFoundError, 1001, () => balancing.get('0'.repeat(32), { zone_id }));

const check = await client.healthchecks.create({ zone_id, name: 'h', address: 'www.node.example' });
assert.equal((await all(client.healthchecks.list({ zone_id }))).length, 1);
await client.healthchecks.update(check.id, { zone_id, name: 'h', address: 'node.example' });
assert.equal((await client.healthchecks.delete(check.id, { zone_id })).id, check.id);

const hook = await client.alerting.destinations.webhooks.create({ account_id, name: 'w',
  url: 'https://example.com/', secret: 's' });
const policy = await client.alerting.policies.create({ account_id, name: 'p', enabled: true,
  alert_type: 'load_balancing_health_alert', mechanisms: { webhooks: [{ id: hook.id }] } });
assert.equal((await all(client.alerting.policies.list({ account_id }))).length, 1);
await client.alerting.policies.delete(policy.id, { account_id });
await client.alerting.destinations.webhooks.delete(hook.id, { account_id });

const stranger = new Cloudflare({ apiToken: 'x'.repeat(40), fetch: counted });
await refused(Cloudflare.PermissionDeniedError, 10000, () => stranger.accounts.list());
await refused(Cloudflare.NotFoundError, 7003, () => client.waitingRooms.list({ account_id }));

assert.equal((await balancing.delete(balancer.id, { zone_id })).id, balancer.id);
assert.equal((await balancing.pools.delete(pool.id, { account_id })).id, pool.id);
assert.equal((await balancing.monitors.delete(monitor.id, { account_id })).id, monitor.id);
for (const one of await all(client.zones.list({ per_page: 50 }))) await client.zones.delete({ zone_id: one.id });
console.log(calls);
