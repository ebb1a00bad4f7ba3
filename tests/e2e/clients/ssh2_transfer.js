// Everyday work with ssh2-sftp-client: streams, and fastPut with 64 writes at once out of order.
//
// Usage: node ssh2_transfer.js PORT USER KEY FILE BACK
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');

const Client = createRequire(path.join(process.env.TIDEGATE_TEST_NODE, 'package.json'))('ssh2-sftp-client');

async function main(port, username, key, file, back) {
  const sftp = new Client();
  await sftp.connect({ host: '127.0.0.1', port: Number(port), username, privateKey: fs.readFileSync(key) });
  const size = fs.statSync(file).size;
  await sftp.mkdir('/deep/er/dir', true);
  await sftp.fastPut(file, '/deep/er/dir/fast');
  await sftp.put(fs.createReadStream(file), '/deep/er/dir/stream');
  await sftp.put(Buffer.from('a few bytes'), '/deep/er/dir/buffer');
  assert.strictEqual((await sftp.stat('/deep/er/dir/fast')).size, size);
  assert.strictEqual((await sftp.get('/deep/er/dir/buffer')).toString(), 'a few bytes');
  const whole = await sftp.get('/deep/er/dir/stream');
  assert.ok(whole.equals(fs.readFileSync(file)));
  await sftp.fastGet('/deep/er/dir/fast', back);
  const names = (await sftp.list('/deep/er/dir')).map((entry) => entry.name).sort();
  assert.deepStrictEqual(names, ['buffer', 'fast', 'stream']);
  await sftp.rename('/deep/er/dir/stream', '/deep/renamed');
  await sftp.posixRename('/deep/er/dir/buffer', '/deep/renamed');
  await sftp.chmod('/deep/renamed', 0o640);
  assert.strictEqual(await sftp.exists('/deep/renamed'), '-');
  await sftp.rmdir('/deep', true);
  assert.strictEqual(await sftp.exists('/deep'), false);
  await sftp.end();
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
