// `node scripts/page-screenshots.mjs`: the pictures of the web page in docs/images, from a real run: moeTiny on two workers of this
// machine, watched by Chromium. Needs a build, the demo data, and the Debian package chromium.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { ROOT } from './lib/root.mjs';

const recipe = process.argv[2] ?? 'moeTiny';
/** Of the run when its pictures are taken: it goes on meanwhile. */
const steps = Number(process.argv[3] ?? '60');
const weft = join(ROOT, 'apps/cli/bin/weft.js');
const home = mkdtempSync(join(tmpdir(), 'weft-page-'));
const launched = spawn(
  process.execPath,
  [
    ...[weft, 'launch', recipe, '--local', '2', '--home', home, '--steps', `${100 * steps}`, ...process.argv.slice(4)],
    ...['--set', `data.directory=${join(ROOT, '.weft/data/demo')}`],
    ...['--set', 'evaluation.everySteps=10', '--set', 'evaluation.sequencesPerSource=4'],
  ],
  { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] },
);
try {
  await until(() => existsSync(join(home, 'coordinator.json')));
  const { pageAddress } = JSON.parse(readFileSync(join(home, 'coordinator.json'), 'utf8'));
  await until(() => metricsOf() >= steps);
  const runId = readdirSync(join(home, 'runs'))[0] ?? '';
  await takePictures(`http://${pageAddress}/#`, runId);
} finally {
  launched.kill('SIGINT');
  await Promise.race([new Promise((resolve) => launched.once('close', resolve)), sleep(20_000)]);
  rmSync(home, { recursive: true, force: true });
}

/** How many steps the run has trained. */
function metricsOf() {
  const runs = join(home, 'runs');
  const [runId] = existsSync(runs) ? readdirSync(runs) : [];
  const file = join(runs, runId ?? '', 'metrics.jsonl');
  return runId !== undefined && existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
}

/**
 * @param {string} base
 * @param {string} runId
 */
async function takePictures(base, runId) {
  const folder = join(ROOT, 'docs', 'images');
  mkdirSync(folder, { recursive: true });
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  const desktop = { width: 1200, height: 760 };
  /** @type {readonly [string, string, { width: number; height: number }, 'light' | 'dark'][]} */
  const pictures = [
    ['page-desktop', `/runs/${runId}`, desktop, 'light'],
    ['page-dark', `/runs/${runId}`, desktop, 'dark'],
    ['page-data', `/runs/${runId}/data?step=2`, desktop, 'light'],
    ['page-workers', `/runs/${runId}/workers`, desktop, 'light'],
    ['page-time', `/runs/${runId}/time`, desktop, 'dark'],
    ['page-experts', `/runs/${runId}/experts`, desktop, 'light'],
    ['page-phone', `/runs/${runId}`, { width: 390, height: 800 }, 'light'],
  ];
  try {
    for (const [name, path, viewport, colorScheme] of pictures) {
      const page = await browser.newPage({ viewport, colorScheme });
      await page.goto(`${base}${path}`);
      await page.locator('.chart canvas, .charts canvas, .sequences img, .rank .bar i, .stack.tall').first().waitFor();
      await page.waitForTimeout(1500);
      await page.screenshot({ path: join(folder, `${name}.png`) });
      await page.close();
      console.log(`docs/images/${name}.png`);
    }
  } finally {
    await browser.close();
  }
}

/** @param {() => boolean} isSo */
async function until(isSo) {
  for (let waited = 0; !isSo(); waited += 100) {
    if (waited > 240_000 || launched.exitCode !== null) throw new Error(`the run of ${recipe} came to nothing`);
    await sleep(100);
  }
}
