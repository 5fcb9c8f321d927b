// Generates packages/proto/src/generated from proto/weft/v1 with protoc and ts-proto.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';

const out = 'packages/proto/src/generated';
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const files = readdirSync('proto/weft/v1').map((file) => `weft/v1/${file}`);
const options = ['outputServices=grpc-js', 'esModuleInterop=true', 'importSuffix=.js', 'oneof=unions', 'env=node', 'exportCommonSymbols=false'];
try {
  execFileSync(
    'protoc',
    [
      '--plugin=node_modules/.bin/protoc-gen-ts_proto',
      `--ts_proto_out=${out}`,
      `--ts_proto_opt=${options.join(',')}`,
      '-Iproto',
      ...files,
    ],
    { stdio: 'inherit' },
  );
} catch (error) {
  if (error.code !== 'ENOENT') throw error;
  console.error('protoc was not found: install the package protobuf-compiler.');
  process.exit(1);
}
