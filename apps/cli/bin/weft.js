#!/usr/bin/env node
// The `weft` command: sends `worker`, `expert-worker` and `coordinator` to their doors and everything else to the CLI.
// Plain JavaScript without dependencies, so that it can explain itself on a checkout that is not built.
const doors = { worker: '@weft/worker', 'expert-worker': '@weft/worker', coordinator: '@weft/coordinator' };

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`weft needs Node 20.19 or newer, this is ${process.version}: install a current Node and run npm ci again.`);
}

// `weft help worker` is `weft worker --help`.
const given = process.argv.slice(2);
const args = given[0] === 'help' && Object.hasOwn(doors, given[1] ?? '') ? [given[1], '--help'] : given;
const door = Object.hasOwn(doors, args[0] ?? '') ? doors[args[0]] : undefined;

try {
  const { main } = await import(door ?? '@weft/cli');
  const exitCode = await (door === undefined ? main(args) : main(args.slice(1), args[0]));
  if (typeof exitCode === 'number') process.exitCode = exitCode;
} catch (error) {
  if (error?.code === 'ERR_MODULE_NOT_FOUND' || error?.code === 'ERR_PACKAGE_PATH_NOT_EXPORTED') {
    fail(`weft is not installed or not built here (${error.message}): run npm ci and npm run build.`);
  }
  if (process.argv.includes('--debug')) throw error;
  fail(error?.sentence ?? error?.message ?? String(error));
}

function fail(sentence) {
  console.error(`error: ${sentence}`);
  process.exit(1);
}
