// Generates packages/proto/src/generated from proto/weft/v1 with protoc and ts-proto.
// `node scripts/generate-proto.mjs [folder]` writes elsewhere, for the check that the committed code is in step.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';

const out = process.argv[2] ?? 'packages/proto/src/generated';
const options = [
  'outputServices=grpc-js',
  'esModuleInterop=true',
  'importSuffix=.js',
  'oneof=unions',
  'env=node',
  'exportCommonSymbols=false',
];

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const files = readdirSync('proto/weft/v1').map((file) => `weft/v1/${file}`);
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
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  console.error('protoc was not found: install the package protobuf-compiler.');
  process.exit(1);
}
