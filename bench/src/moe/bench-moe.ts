import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WEFT_VERSION } from '@weft/common';
import type { MoeBenchOptions } from '../arguments.js';
import { findPeers } from '../candidates.js';
import { describeMachine, machineSentence } from '../machine.js';
import { pythonOf } from '../programs.js';
import { formatTable } from '../render.js';
import { compareLayers, LAYER_PEERS, type LayerRow } from './compare-layers.js';
import { comparePlacements, describePlacement, type PlacementRow } from './compare-placements.js';
import { LAYER_SIZES, type LayerCase, layerFlops, writeLayerFixture } from './layer.js';

const DEFAULT_OUT = fileURLToPath(new URL('../../results/moe.json', import.meta.url));

/** A MoE layer beside PyTorch, and runs with their experts in the rank or in processes of their own. */
export async function benchMoe(options: MoeBenchOptions): Promise<void> {
  const layers = options.parts.includes('layer') ? await benchLayers(options) : [];
  const onProgress = (what: string) => console.error(what);
  const placements = options.parts.includes('placement') ? await comparePlacements({ ...options, onProgress }) : [];
  const machine = describeMachine();
  const out = options.out ?? DEFAULT_OUT;
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, `${JSON.stringify({ weft: WEFT_VERSION, machine, options, layers, placements }, null, 2)}\n`);
  console.log(machineSentence(machine));
  for (const { case: one, rows } of layers) console.log(`\n${describe(one)}\n${table(one, rows)}`);
  if (placements.length > 0) console.log(`\nmoeTiny on one rank, 8 microbatches a step\n${placementTable(placements)}`);
}

interface LayerResult {
  readonly case: LayerCase;
  readonly rows: readonly LayerRow[];
}

async function benchLayers(options: MoeBenchOptions): Promise<readonly LayerResult[]> {
  const { peers: found, missing } = findPeers(['torch-eager']);
  for (const sentence of missing) console.error(sentence);
  const peers = found.length === 0 ? [] : LAYER_PEERS;
  const directory = await mkdtemp(join(tmpdir(), 'weft-bench-moe-'));
  const results: LayerResult[] = [];
  try {
    for (const size of LAYER_SIZES.filter(({ name }) => options.sizes.includes(name))) {
      const fixture = await writeLayerFixture(directory, size);
      for (const threads of options.threads) {
        for (const precision of options.precisions) {
          const one: LayerCase = { size, precision, threads };
          const onProgress = (what: string) => console.error(`${describe(one)}: ${what}`);
          const python = pythonOf('torch-eager');
          results.push({
            case: one,
            rows: await compareLayers(one, { ...options, peers, python, fixture, onProgress }),
          });
        }
      }
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return results;
}

function describe({ size, precision, threads }: LayerCase): string {
  const { name, tokens, width, hidden, experts } = size;
  const layer = `${tokens} tokens, ${experts} experts of ${width} × ${hidden}`;
  return `${name} (${layer}), ${precision}, ${threads === 1 ? '1 thread' : `${threads} threads`}`;
}

function table({ size }: LayerCase, rows: readonly LayerRow[]): string {
  const columns = [
    { title: 'candidate', align: 'left' },
    { title: 'tokens/s', align: 'right' },
    { title: 'ms', align: 'right' },
    { title: 'GFLOP/s', align: 'right' },
    { title: 'busy cores', align: 'right' },
    { title: 'weft is faster by', align: 'right' },
    { title: 'differs by', align: 'right' },
  ] as const;
  const cells = rows.map(({ candidate, tokensPerSecond, stepSeconds, busyCores, weftSpeedup: ratio, difference }) => [
    candidate,
    tokensPerSecond.toFixed(0),
    (stepSeconds * 1e3).toFixed(1),
    (layerFlops(size) / stepSeconds / 1e9).toFixed(0),
    busyCores.toFixed(2),
    ratio === undefined ? '' : `${ratio.median.toFixed(2)} (${ratio.lowest.toFixed(2)}–${ratio.highest.toFixed(2)})`,
    difference === undefined ? '' : `${difference.difference.toExponential(0)} (${difference.result})`,
  ]);
  return formatTable(columns, cells);
}

function placementTable(rows: readonly PlacementRow[]): string {
  const columns = [
    { title: 'experts', align: 'left' },
    { title: 'ms a step', align: 'right' },
    { title: 'MiB exchanged', align: 'right' },
    { title: 'ms waiting', align: 'right' },
    { title: 'share', align: 'right' },
    { title: 'of one in flight', align: 'right' },
  ] as const;
  const cells = rows.map((row) => [
    describePlacement(row),
    (row.stepSeconds * 1e3).toFixed(0),
    (row.bytesPerStep / 2 ** 20).toFixed(1),
    (row.waitingSeconds * 1e3).toFixed(1),
    `${(row.waitingShare * 100).toFixed(0)} %`,
    row.waitingRatio?.toFixed(2) ?? '',
  ]);
  return formatTable(columns, cells);
}
