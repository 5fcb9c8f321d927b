// `node scripts/page-speed.mjs`: opens the web page on a run of 200,000 steps in Chromium and records how long that takes,
// and how long frames take while the pointer moves over its charts, while it is zoomed and while it is smoothed. Needs a build and
// the Debian package chromium. The numbers depend on the machine; the last line is JSON.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { ROOT } from './lib/root.mjs';

const STEPS = 200_000;
const RUN = 'long-run';
const weft = join(ROOT, 'apps/cli/bin/weft.js');

const home = mkdtempSync(join(tmpdir(), 'weft-page-'));
console.error(`writing a run of ${STEPS} steps …`);
await writeRun();
const running = spawn(process.execPath, [weft, 'coordinator', '--home', home, '--port', '0', '--recover', 'manual'], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
try {
  const file = join(home, 'coordinator.json');
  while (!existsSync(file)) await sleep(100);
  console.log(JSON.stringify(await measure(JSON.parse(readFileSync(file, 'utf8')).pageAddress)));
} finally {
  running.kill();
  rmSync(home, { recursive: true, force: true });
}

/** The log and the rows of a run that a person stopped after its last step. */
async function writeRun() {
  const { ledgerEntry, MixtureSchedule } = await import('../packages/mixture/dist/index.js');
  const { resolveLayers } = await import('../packages/config/dist/index.js');
  const { openStore } = await import('../packages/store/dist/index.js');
  const { recipeInput } = await import('../packages/recipes/dist/index.js');
  const config = resolveLayers([{ value: { ...recipeInput('debugNano'), steps: 2 * STEPS } }]);
  const schedule = new MixtureSchedule(config.data.weights);
  const beganMs = Date.parse('2026-01-01T00:00:00Z');
  const at = (/** @type {number} */ step) => new Date(beganMs + step * 1000).toISOString();
  const workers = [0, 1].map((rank) => ({ workerId: `w${rank}`, hostName: `host-${rank}`, device: 'cpu' }));
  /** @type {unknown[]} */
  const records = [
    { kind: 'launched', time: at(0), runId: RUN, config, weftVersion: '0.1.0' },
    { kind: 'assigned', time: at(0), generation: 1, firstStep: 1, state: 'fresh', workers },
  ];
  /** @type {string[]} */
  const rows = [];
  for (let step = 1; step <= STEPS; step++) {
    const loss = 1.5 + 4 * Math.exp(-step / 20_000) + 0.2 * Math.sin(step * 12.9898) + (step % 50_000 === 7 ? 3 : 0);
    const entry = ledgerEntry(schedule, config.globalBatchSize, {
      step,
      generation: 1,
      digest: 'd',
      loss,
      applied: true,
    });
    const gradNorm = 1 + 0.3 * Math.cos(step * 78.233);
    records.push({ kind: 'committed', time: at(step), entry, gradNorm, lossTokens: 100, worldSize: 2 });
    const sequences = Object.fromEntries(
      Object.entries(entry.ranges).map(([name, { first, end }]) => [name, end - first]),
    );
    const heldOut = {
      loss: loss + 0.1,
      sources: { captioned: loss, interleaved: loss + 0.2, text: loss + 0.3 },
      seconds: 1,
    };
    rows.push(
      JSON.stringify({
        step,
        loss,
        learningRate: 1e-3 * (1 - step / STEPS),
        gradNorm,
        tokensPerSecond: 9000 + 500 * Math.sin(step),
        sequences,
        seconds: { data: 0.01, compute: 0.7, communication: 0.2, apply: 0.05 },
        ...(step % 500 === 0 ? { heldOut } : {}),
        generation: 1,
        time: at(step),
      }),
    );
  }
  records.push(
    { kind: 'stopRequested', time: at(STEPS) },
    { kind: 'stopped', time: at(STEPS), step: STEPS, reason: 'as asked' },
  );
  const directory = join(home, 'runs', RUN);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config));
  writeFileSync(join(directory, 'metrics.jsonl'), `${rows.join('\n')}\n`);
  // As the coordinator that trained it would have done.
  const { MetricsColumns } = await import('../packages/client/dist/index.js');
  await (await MetricsColumns.open(directory)).save();
  const store = await openStore({ home });
  const lease = await store.lease.acquire('page-speed');
  const log = await store.openLog(RUN, lease);
  for (let first = 0; first < records.length; first += 5000)
    await log.append(log.lastSequence, records.slice(first, first + 5000));
  await log.close();
  await lease.release();
  await store.close();
}

/** @param {string} address */
async function measure(address) {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    const loss = page.getByRole('slider', { name: 'Loss' });
    /** @type {{ firstPaintMs: number; curvesMs: number }[]} */
    const openings = [];
    for (let visit = 0; visit < 3; visit++) {
      await page.goto('about:blank');
      const beganMs = performance.now();
      await page.goto(`http://${address}/#/runs/${RUN}`);
      await page.locator(`[role=slider][aria-valuemax="${STEPS}"]`).first().waitFor();
      const curvesMs = Math.round(performance.now() - beganMs);
      const firstPaintMs = await page.evaluate(
        () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0,
      );
      openings.push({ firstPaintMs: Math.round(firstPaintMs), curvesMs });
    }
    const frames = {
      hover: await framesWhile(page, async () => {
        const box = await loss.boundingBox();
        if (box === null) return;
        for (let x = 80; x < box.width - 20; x += 12) await page.mouse.move(box.x + x, box.y + box.height / 2);
      }),
      smooth: await framesWhile(page, async () => {
        const slider = page.locator('input[type=range]');
        for (let press = 0; press < 30; press++) await slider.press('ArrowLeft');
      }),
      zoom: await framesWhile(page, async () => {
        const box = await loss.boundingBox();
        if (box === null) return;
        await page.mouse.move(box.x + 200, box.y + 100);
        await page.mouse.down();
        await page.mouse.move(box.x + 500, box.y + 100, { steps: 15 });
        await page.mouse.up();
        await page.waitForTimeout(500);
      }),
    };
    return { steps: STEPS, openings, frames };
  } finally {
    await browser.close();
  }
}

/**
 * Milliseconds between the frames that the browser drew meanwhile.
 *
 * @param {import('playwright-core').Page} page
 * @param {() => Promise<void>} work
 */
async function framesWhile(page, work) {
  await page.evaluate(`
    globalThis.drawn = [];
    requestAnimationFrame(function note(time) {
      globalThis.drawn?.push(time);
      if (globalThis.drawn !== undefined) requestAnimationFrame(note);
    })`);
  await work();
  /** @type {number[]} */
  const times = await page.evaluate('[globalThis.drawn, (globalThis.drawn = undefined)][0]');
  const gaps = times
    .slice(1)
    .map((time, index) => time - (times[index] ?? time))
    .sort((a, b) => a - b);
  const at = (/** @type {number} */ share) => Math.round(10 * (gaps[Math.floor(share * (gaps.length - 1))] ?? 0)) / 10;
  return { frames: gaps.length, medianMs: at(0.5), p95Ms: at(0.95), maxMs: at(1) };
}
