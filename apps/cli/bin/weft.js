#!/usr/bin/env node
// The `weft` command: sends `worker`, `expert-worker` and `coordinator` to their apps and everything else to the CLI.
// Plain JavaScript without dependencies, so that it can explain itself on a checkout that is not built; and without
// syntax that a Node of 2018 cannot read, so that it can say which Node it needs.
const apps = { worker: '@weft/worker', 'expert-worker': '@weft/worker', coordinator: '@weft/coordinator' };

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`weft needs Node 20.19 or newer, this is ${process.version}: install a current Node and run npm ci again.`);
} else {
  run(argumentsOf(process.argv.slice(2))).then(
    (exitCode) => {
      if (typeof exitCode === 'number') process.exitCode = exitCode;
    },
    (error) => {
      if (process.argv.includes('--debug')) console.error(error);
      fail(sentenceOf(error), error instanceof Error ? error.exitCode : 1);
    },
  );
}

/** `weft help worker` is `weft worker --help`. */
function argumentsOf(given) {
  return given[0] === 'help' && Object.hasOwn(apps, String(given[1])) ? [given[1], '--help'] : given;
}

async function run(args) {
  // A Node that has it (22.1) keeps what it compiled: a replacement of a lost worker is there sooner.
  const { default: module } = await import('node:module');
  if (module.enableCompileCache !== undefined) module.enableCompileCache();
  const isOtherApp = Object.hasOwn(apps, String(args[0]));
  const { main } = await import(isOtherApp ? apps[args[0]] : '@weft/cli');
  return isOtherApp ? main(args.slice(1), args[0]) : main(args);
}

function sentenceOf(error) {
  if (!(error instanceof Error)) return String(error);
  if (error.code === 'ERR_MODULE_NOT_FOUND' || error.code === 'ERR_PACKAGE_PATH_NOT_EXPORTED')
    return `weft is not installed or not built here (${error.message}): run npm ci and npm run build.`;
  return error.sentence || error.message;
}

/** An exit code of an error that has none is 1. */
function fail(sentence, exitCode) {
  console.error(`error: ${sentence}`);
  process.exit(typeof exitCode === 'number' ? exitCode : 1);
}
