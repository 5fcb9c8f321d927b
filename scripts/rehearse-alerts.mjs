// `node scripts/rehearse-alerts.mjs`: brings about every alert that one machine can have, with a real Prometheus and a real run, and
// waits until each has fired and cleared again. It needs Prometheus and a build; about two minutes.
import { spawnSync } from 'node:child_process';
import { ROOT } from './lib/root.mjs';

const { status } = spawnSync('npx', ['vitest', 'run', '--project', 'e2e', 'e2e/monitoring.promtool.test.ts'], {
  cwd: ROOT,
  stdio: 'inherit',
  env: { ...process.env, WEFT_TEST_ALL_ALERTS: '1' },
});
process.exitCode = status ?? 1;
