import { describe, expect, test } from 'vitest';
import { renderAllReduce } from './all-reduce.js';
import { formatTable, renderProfile, renderResults } from './render.js';
import { type Measurement, summarise } from './summary.js';

const decoder = { model: 'decoder-5m', precision: 'fp32', threads: 1, processes: 1 } as const;

function measured(candidate: Measurement['candidate'], changes: Partial<Measurement> = {}): Measurement {
  return {
    candidate: candidate,
    engine: candidate,
    tokensPerStep: 1000,
    flopsPerStep: 8e9,
    rounds: [
      [0.1, 0.1],
      [0.2, 0.1],
    ],
    losses: [8.3, 8.2],
    busyCores: 1,
    backgroundCores: 0.02,
    peakBytes: 2 ** 28,
    secondsToFirstStep: 1.5,
    profile: undefined,
    ...changes,
  };
}

const gemm = measured('gemm', { flopsPerStep: 1e9, rounds: [[0.02, 0.01], [0.01]] });

describe('a summary', () => {
  test('gives medians, and shares of the measured and of the given peak', () => {
    const { rows, gemmFlopsPerSecond } = summarise(decoder, [measured('weft'), gemm], [], 0.4);
    expect(gemmFlopsPerSecond).toBeCloseTo(1e11);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ tokensPerSecond: 10_000, weftSpeedup: undefined, firstLoss: 8.3 });
    expect(rows[0]?.modelFlopsPerSecond).toBeCloseTo(8e10);
    expect(rows[0]?.shareOfGemmPeak).toBeCloseTo(0.8);
    expect(rows[0]?.mfu).toBeCloseTo(0.2);
  });

  test('compares tokens, not steps, when more processes do more of them', () => {
    const parallel = { ...decoder, model: 'mm1-tiny', processes: 2 } as const;
    const two = measured('weft', { tokensPerStep: 2000, flopsPerStep: 16e9 });
    const { rows } = summarise(parallel, [two, measured('weft-alone'), gemm], [], undefined);
    expect(rows[1]?.weftSpeedup?.median).toBe(2);
    expect(rows[1]?.shareOfGemmPeak).toBeCloseTo(rows[0]?.shareOfGemmPeak ?? Number.NaN);
  });

  test('says when a peer trains another model', () => {
    const same = measured('torch-eager', { losses: [8.3004, 8.3] });
    const other = measured('jax', { losses: [8.31] });
    const { agreement } = summarise(decoder, [measured('weft'), same, other, gemm], [], undefined);
    expect(agreement.map(({ candidate, steps, isEqual }) => [candidate, steps, isEqual])).toEqual([
      ['torch-eager', 2, true],
      ['jax', 1, false],
    ]);
  });
});

describe('the printed results', () => {
  const slow = measured('torch-eager', { rounds: [[0.15], [0.3]] });
  const broken = { candidate: 'jax', reason: 'no memory' } as const;

  test('have ratios only beside peers, and MFU only for a given chip', () => {
    const alone = renderResults([summarise(decoder, [measured('weft'), gemm], [], undefined)]);
    expect(alone).not.toMatch(/ ×|MFU/);
    const torchGemm = { ...gemm, candidate: 'torch-gemm', flopsPerStep: 5e8 } as const;
    const compared = renderResults([summarise(decoder, [measured('weft'), slow, gemm, torchGemm], [broken], 1)]);
    expect(compared.split('\n')[0]).toMatch(/MFU.*products × +weft ×$/);
    expect(compared.split('\n')[2]).toMatch(/torch-eager.* 2\.00 +1\.75$/);
    expect(compared).toContain('first loss of torch-eager differs by 0.0e+0, loss of step 2 by 0.0e+0');
    expect(compared).toContain('GEMM peak 100 GFLOP/s, of PyTorch 50');
    expect(compared).toContain('jax broke down: no memory');
  });

  test('name the case in which ours is the slowest beside an earlier version', () => {
    const before = (seconds: number) => measured('weft-before', { rounds: [[seconds], [seconds]] });
    const result = (threads: number, seconds: number) =>
      summarise(
        { ...decoder, threads },
        [measured('weft', { rounds: [[0.1], [0.1]] }), before(seconds), gemm],
        [],
        undefined,
      );
    expect(renderResults([result(1, 0.1), result(2, 0.096)])).toContain(
      'least ratio to weft-before in 2 cases: 0.960 (decoder-5m fp32, 2 threads)',
    );
    expect(renderResults([result(1, 0.1)])).not.toContain('weft-fixed');
  });

  test('say which products took another form', () => {
    const result = summarise(decoder, [measured('weft'), gemm], [], undefined);
    const others = [{ product: 'float32 (8x2)T 8x4', form: 'matrix', speedup: 1.08 }];
    expect(renderResults([{ ...result, forms: { timed: 12, others } }])).toContain(
      'decoder-5m fp32, 1 thread: 1 of 12 timed products in another form than usual: float32 (8x2)T 8x4 matrix 1.08 ×',
    );
    expect(renderResults([result])).not.toContain('form');
  });

  test('warn when others used the machine', () => {
    const render = (busyCores: number) =>
      renderResults([summarise(decoder, [measured('weft'), { ...gemm, busyCores }], [], undefined)]);
    expect(render(0.97)).not.toContain('BUSY');
    expect(render(0.6)).toContain(
      'decoder-5m fp32, 1 thread: THE MACHINE WAS BUSY, matrix products had 0.60 of 1 cores',
    );
  });

  test('warn when others had cores while a single candidate was measured', () => {
    const render = (backgroundCores: number | undefined) =>
      renderResults([
        summarise(decoder, [measured('weft', { backgroundCores: backgroundCores }), slow, gemm], [], undefined),
      ]);
    expect(render(0.05)).not.toContain('BUSY');
    expect(render(undefined)).not.toContain('BUSY');
    expect(render(0.62)).toContain(
      'THE MACHINE WAS BUSY, others had 0.22 cores on average, 0.62 while one candidate ran',
    );
  });

  test('shout when the models are not equal', () => {
    const other = measured('jax', { losses: [9] });
    const text = renderResults([summarise(decoder, [measured('weft'), other, gemm], [], undefined)]);
    expect(text).toContain('THE MODELS ARE NOT EQUAL');
  });

  test('show a profile with the dearest ops first', () => {
    const profile = [
      { phase: 'step', type: 'MatMul', milliseconds: 80, count: 60 },
      { phase: 'step', type: 'NoOp', milliseconds: 0.01, count: 1 },
    ];
    const text = renderProfile(decoder, 0.1, profile);
    expect(text).toContain('decoder-5m fp32, 1 thread: ops 80.0 ms of a traced step');
    expect(text).toMatch(/step +MatMul +80\.00 +100\.0% +60/);
    expect(text).not.toContain('NoOp');
  });
});

test('a table aligns words left and numbers right', () => {
  const columns = [
    { title: 'name', align: 'left' },
    { title: 'n', align: 'right' },
  ] as const;
  expect(formatTable(columns, [['x', '12345']])).toBe('name      n\nx     12345');
});

test('all-reduces stand beside those of gloo, where it took part', () => {
  const ours = { processes: 2, mib: 64, gigabytesPerSecond: { weft: 3 } };
  expect(renderAllReduce([ours]).split('\n')[1]).toMatch(/weft GB\/s$/);
  const both = { ...ours, gigabytesPerSecond: { weft: 3, gloo: 1.2 } };
  expect(renderAllReduce([both]).split('\n')[2]).toMatch(/2 +64 +3\.00 +1\.20 +2\.50$/);
});
