import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunConfig } from '@weft/config';
import { Dataset } from '@weft/data';
import { RunSequences, scheduleOf, stepRanges } from '@weft/mixture';
import axe from 'axe-core';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { expectUnder, until, withSettings } from './weft.js';

/** A step whose sequences hold pictures. */
const STEP = 2;

let browser: Browser;
beforeAll(async () => {
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
});
afterAll(() => browser?.close());

it('a real browser sees a run live: curves, a killed worker, stop and resume, what a step ate', async () => {
  await using cluster = await Cluster.make();
  cluster.coordinator();
  await cluster.worker();
  const second = await cluster.worker();
  await cluster.ready(2);
  const runId = await cluster.launch(
    ...withSettings({ 'engine.backend': 'javascript', steps: 100_000, workers: 2, minWorkers: 1 }),
  );
  await cluster.home.untilStep(runId, 3);
  const { pageAddress } = JSON.parse(readFileSync(join(cluster.home.path, 'coordinator.json'), 'utf8'));
  const { page, problems } = await openPage(pageAddress);

  // The first visit also fills the caches of the browser's process; people come back.
  await page.goto(`http://${pageAddress}/#/runs/${runId}`);
  const loss = page.getByRole('slider', { name: 'Loss' });
  await loss.waitFor();
  expectUnder(1000, await firstPaintMs(page));
  const lastStep = async () => Number(await loss.getAttribute('aria-valuemax'));
  const before = await lastStep();
  await until(
    () => `curves that go on after step ${before}`,
    async () => (await lastStep()) > before + 1,
  );
  expect(await axeViolations(page)).toEqual([]);

  // Who was lost, and how soon it is seen.
  await page.getByRole('link', { name: 'Workers' }).last().click();
  await page.getByText('at work').or(page.getByText('waits for the others')).first().waitFor();
  // The phases of every rank, from its own votes.
  for (const rank of [0, 1])
    await page.getByRole('img', { name: new RegExp(`^rank ${rank}, mean of a step`) }).waitFor();
  const killedMs = performance.now();
  await second.kill();
  await page.getByText('lost', { exact: true }).waitFor();
  expectUnder(5000, performance.now() - killedMs);
  await page.getByText('it trains step').waitFor();
  expect(await axeViolations(page)).toEqual([]);

  // What did a step eat? Asked as a person does.
  await page.getByRole('link', { name: 'Data', exact: true }).click();
  await page.getByLabel('what did step').fill(`${STEP}`);
  await page.getByRole('button', { name: 'Show' }).first().click();
  await page.getByText(`Step ${STEP}`, { exact: true }).waitFor();
  await page.locator('.sequences li').first().waitFor();
  const config = JSON.parse(readFileSync(join(cluster.home.runDirectory(runId), 'config.json'), 'utf8')) as RunConfig;
  const { pictures: wanted, texts, sequences } = await contentsOf(config, STEP);
  const withoutBlanks = (text: string) => text.replaceAll(/\s+/g, '');
  const shownTexts = await page
    .locator('.sequences li')
    .evaluateAll((all) =>
      all.map((each) => [...each.querySelectorAll('.document')].map((document) => document.textContent ?? '').join('')),
    );
  expect(shownTexts.map(withoutBlanks)).toEqual(texts.map(withoutBlanks));
  const images = page.locator('.sequences img');
  expect(wanted.length).toBeGreaterThan(0);
  expect(await images.count()).toBe(wanted.length);
  const sources = await images.evaluateAll((all) => all.map((image) => image.getAttribute('src') ?? ''));
  const shown = await Promise.all(
    sources.map(async (url) => new Uint8Array(await (await fetch(`http://${pageAddress}${url}`)).arrayBuffer())),
  );
  expect(shown).toEqual(wanted);
  await images.first().scrollIntoViewIfNeeded();
  await until(
    () => 'a picture that is drawn',
    () => images.first().evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth > 0),
  );
  expect(await axeViolations(page)).toEqual([]);

  // When was a sequence eaten?
  const [first] = sequences;
  await page.getByLabel('when was').selectOption(first?.source ?? '');
  await page.getByLabel('number').fill(`${first?.index}`);
  await page.getByRole('button', { name: 'Show' }).last().click();
  await page.getByRole('link', { name: `step ${STEP}`, exact: true }).waitFor();
  expect(await axeViolations(page)).toEqual([]);

  // A checkpoint now, stop, and go on.
  const newest = async () =>
    JSON.parse((await cluster.weft('status', runId, '--json')).stdout).checkpointStep as number;
  const saved = await newest();
  await page.getByRole('button', { name: 'Checkpoint now' }).click();
  await until(
    () => `a checkpoint after step ${saved}`,
    async () => (await newest()) > saved,
  );
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.locator('.run .status', { hasText: 'stopped' }).waitFor();
  await cluster.worker();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.locator('.run .status', { hasText: 'running' }).waitFor();
  const resumedAt = (await cluster.run(runId)).step;
  await cluster.home.untilStep(runId, resumedAt + 1);
  expect((await cluster.run(runId)).status).toBe('running');
  for (const view of [
    'queue',
    'workers',
    'sweeps',
    'logs',
    'runs',
    `compare?runs=${runId}`,
    `runs/${runId}/time`,
    `runs/${runId}/events`,
    `runs/${runId}/logs`,
    `runs/${runId}/config`,
    `runs/${runId}/checkpoints`,
  ]) {
    await page.goto(`http://${pageAddress}/#/${view}`);
    await page.locator('main h1').first().waitFor();
    expect([view, await axeViolations(page)]).toEqual([view, []]);
  }
  expect(problems).toEqual([]);
});

/** A page that collects what must not be: errors on its console, and requests to other addresses than its own. */
async function openPage(address: string): Promise<{ page: Page; problems: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(30_000);
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('request', (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== 'data:' && host !== address) problems.push(`asked ${request.url()}`);
  });
  return { page, problems };
}

function firstPaintMs(page: Page): Promise<number> {
  return page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Number.NaN);
}

/** What axe-core calls serious or critical. */
async function axeViolations(page: Page): Promise<string[]> {
  // Through the debugger, because the page's own policy lets no foreign script in.
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { axe: inPage } = globalThis as unknown as { axe: { run: () => Promise<{ violations: Violation[] }> } };
    return (await inPage.run()).violations;
  });
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

interface Violation {
  readonly id: string;
  readonly impact: string | null;
  readonly nodes: readonly { readonly html: string }[];
}

/** What a step consumed, in the order of its sequences, straight from the data set. */
async function contentsOf(config: RunConfig, step: number) {
  const dataset = await Dataset.open(config);
  try {
    const { seed, evaluation, globalBatchSize } = config;
    const heldOutPerSource = evaluation.sequencesPerSource;
    const schedule = scheduleOf(config);
    const taken = new RunSequences({ schedule, versions: dataset.versions, seed, heldOutPerSource });
    const ranges = stepRanges(schedule, globalBatchSize, step);
    const pictures: Uint8Array[] = [];
    const texts: string[] = [];
    const sequences: { source: string; index: number }[] = [];
    for (const [source, range] of Object.entries(ranges))
      for (const { sequence } of taken.ofSource(source, range)) {
        const { segments } = await dataset.readSequence(source, sequence);
        sequences.push({ source, index: sequence });
        texts.push(segments.map(({ entries }) => dataset.tokenizer.decode(entries.filter((id) => id >= 0))).join(''));
        for (const image of segments.flatMap(({ images }) => images))
          pictures.push(new Uint8Array(await dataset.readImageFile(source, image)));
      }
    return { pictures, texts, sequences };
  } finally {
    await dataset.close();
  }
}
