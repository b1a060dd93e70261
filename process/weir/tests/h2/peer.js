// node's HTTP/2 as a client of Weir (`client URL [CA]`) and as an origin behind it (`origin PORT`).
'use strict';
const fs = require('node:fs');
const http2 = require('node:http2');
const assert = require('node:assert');

const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
const masked = (bytes) => Buffer.from(bytes.map((byte, at) => byte ^ MASK[at % 4]));

// One request; gives status, fields, body and trailers.
function ask(session, fields, body) {
  return new Promise((resolve, reject) => {
    const stream = session.request(fields, { endStream: body === undefined });
    const reply = { body: [], trailers: {} };
    stream.on('response', (head) => { reply.head = head; reply.status = head[':status']; });
    stream.on('trailers', (trailers) => { reply.trailers = trailers; });
    stream.on('data', (piece) => reply.body.push(piece));
    stream.on('error', reject);
    stream.on('end', () => {
      reply.body = Buffer.concat(reply.body);
      resolve(reply);
    });
    if (body !== undefined) stream.end(body);
  });
}

// A WebSocket on a stream (RFC 8441) that gets back every text it sends.
function webSocket(session, path, texts) {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'CONNECT', ':protocol': 'websocket', ':path': path,
      'sec-websocket-version': '13',
    });
    const want = Buffer.concat(texts.map((t) => Buffer.concat([Buffer.from([0x81, t.length]), Buffer.from(t)])));
    let got = Buffer.alloc(0);
    stream.on('error', reject);
    stream.on('response', (head) => {
      assert.strictEqual(head[':status'], 200);
      for (const text of texts) {
        const frame = [Buffer.from([0x81, 0x80 | text.length]), MASK, masked(Buffer.from(text))];
        stream.write(Buffer.concat(frame));
      }
    });
    stream.on('data', (piece) => {
      got = Buffer.concat([got, piece]);
      if (got.length < want.length) return;
      assert.deepStrictEqual(got, want);
      stream.on('close', resolve);
      stream.end();
    });
  });
}

async function client(url, ca) {
  const options = ca ? { ca: fs.readFileSync(ca), servername: 'a.test' } : {};
  const session = http2.connect(url, options);
  session.on('error', (error) => { throw error; });
  const settings = await new Promise((resolve) => session.once('remoteSettings', resolve));
  assert.strictEqual(settings.enableConnectProtocol, true);
  const text = async (fields, body) => (await ask(session, fields, body)).body.toString();
  assert.strictEqual(await text({ ':path': '/a' }), 'GET /a 0');
  assert.strictEqual(await text({ ':path': '/h', ':method': 'HEAD' }), '');
  const big = Buffer.alloc(3 << 20, 'b');
  assert.strictEqual(await text({ ':path': '/p', ':method': 'POST' }, big), `POST /p ${3 << 20}`);
  const many = await Promise.all(
    Array.from({ length: 100 }, (_, n) => text({ ':path': `/${n}` })),
  );
  many.forEach((body, n) => assert.strictEqual(body, `GET /${n} 0`));
  const texts = ['one', 'two', 'three'];
  await Promise.all([webSocket(session, '/ws1', texts), webSocket(session, '/ws2', texts)]);
  session.close();
  console.log('good');
}

// Texts of a client, each echoed once it is whole.
function echo(stream) {
  let buffer = Buffer.alloc(0);
  stream.respond({ ':status': 200 });
  stream.on('data', (piece) => {
    buffer = Buffer.concat([buffer, piece]);
    while (buffer.length >= 6 && buffer.length >= 6 + (buffer[1] & 0x7f)) {
      const end = 6 + (buffer[1] & 0x7f);
      const mask = buffer.subarray(2, 6);
      const text = Buffer.from(buffer.subarray(6, end).map((byte, at) => byte ^ mask[at % 4]));
      stream.write(Buffer.concat([Buffer.from([buffer[0], text.length]), text]));
      buffer = buffer.subarray(end);
    }
  });
  stream.on('end', () => stream.end());
}

function origin(port) {
  const server = http2.createServer({ settings: { enableConnectProtocol: true } });
  server.on('stream', (stream, fields) => {
    stream.on('error', () => {});
    if (fields[':method'] === 'CONNECT') return echo(stream);
    let length = 0;
    stream.on('data', (piece) => { length += piece.length; });
    stream.on('end', () => {
      const tag = `${fields[':method']} ${fields[':path']} ${length}`;
      stream.respond({ ':status': 200, 'x-tag': tag }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': String(tag.length) }));
      stream.end(fields[':method'] === 'HEAD' ? undefined : tag);
    });
  });
  server.listen(Number(port), '127.0.0.1');
}

const [role, ...rest] = process.argv.slice(2);
({ client, origin })[role](...rest);
