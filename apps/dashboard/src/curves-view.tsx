import { useSignal } from '@preact/signals';
import { decimal, duration, large, percent } from '@weft/common';
import { useEffect, useMemo } from 'preact/hooks';
import { Chart, type ChartLine } from './chart.js';
import { lineColor } from './colors.js';
import { CurveStore, smoothed } from './curve-store.js';
import { onRow, overview } from './live.js';
import { Empty, Problem } from './parts.js';
import { route, setQuery } from './router.js';

/** The curves of a run, with those of others beside them. @param others fixed ones; default: those that a person adds */
export function CurvesView({ runId, others: fixed }: { runId: string; others?: readonly string[] }) {
  const chosen = (route.value.query.get('with') ?? '').split(',').filter((id) => id !== '' && id !== runId);
  const others = fixed ?? chosen;
  const ids = [runId, ...others].join(',');
  const stores = useMemo(() => ids.split(',').map((id) => new CurveStore(id)), [ids]);
  const own = stores[0]!;
  const smoothing = useSignal(0.8);
  const isLog = useSignal(false);
  const range = rangeOf(route.value.query);
  const rangeKey = range?.join('-') ?? '';
  useEffect(() => {
    for (const store of stores) void store.load(range);
  }, [stores, rangeKey]);
  useEffect(() => onRow((row) => own.add(row)), [own]);
  const version = stores.map((store) => store.version.value).join();
  const zoom = (chosen: readonly [number, number] | undefined) =>
    setQuery({ steps: chosen === undefined ? undefined : chosen.map(Math.round).join('-') });

  const lines = useMemo(() => new Lines(stores, smoothing.value), [stores, version, smoothing.value]);
  if (own.error.value !== undefined && own.lastStep === 0) return <Problem error={own.error.value} />;
  const shared = { onZoom: zoom };
  const scores = lines.names('score.');
  return (
    <>
      <div class="toolbar">
        <label>
          smoothing
          <input
            type="range"
            min="0"
            max="0.99"
            step="0.01"
            value={smoothing.value}
            onInput={({ currentTarget }) => {
              smoothing.value = Number(currentTarget.value);
            }}
          />
        </label>
        <label>
          <input
            type="checkbox"
            checked={isLog.value}
            onChange={({ currentTarget }) => {
              isLog.value = currentTarget.checked;
            }}
          />
          logarithmic
        </label>
        {fixed === undefined && <Compare runId={runId} others={others} />}
        {range !== undefined && (
          <button type="button" onClick={() => zoom(undefined)}>
            all steps (shown: {range[0].toLocaleString('en')} to {range[1].toLocaleString('en')})
          </button>
        )}
      </div>
      {own.version.value === 0 ? (
        <p class="loading">Reading the curves …</p>
      ) : own.lastStep === 0 ? (
        <Empty>No step has been trained yet. Curves begin with the first one.</Empty>
      ) : (
        <div class="charts">
          <Chart
            {...shared}
            class="wide"
            height={280}
            title="Loss"
            lines={lines.loss()}
            format={decimal}
            isLog={isLog.value}
          />
          <Chart {...shared} title="Tokens per second" lines={lines.of(['tokensPerSecond'])} format={large} fromZero />
          <Chart
            {...shared}
            title="Gradient norm"
            lines={lines.of(['gradNorm'])}
            format={decimal}
            isLog={isLog.value}
          />
          <Chart {...shared} title="Learning rate" lines={lines.of(['learningRate'], 0)} format={exponent} fromZero />
          <Chart
            {...shared}
            title="Seconds of a step"
            lines={lines.of(lines.names('seconds.'))}
            format={duration}
            fromZero
          />
          {lines.has('mfu') && <Chart {...shared} title="MFU" lines={lines.of(['mfu'])} format={percent} fromZero />}
          {scores.length > 0 && (
            <Chart {...shared} title="Evaluation scores" lines={lines.of(scores, 0)} format={oneDecimal} />
          )}
          {lines.names('moe.').length > 0 && (
            <Chart
              {...shared}
              title="Experts: dropped assignments"
              lines={lines.of(lines.names('moe.').filter((name) => name.endsWith('droppedShare')))}
              format={percentOf}
              fromZero
            />
          )}
        </div>
      )}
    </>
  );
}

function Compare({ runId, others }: { runId: string; others: readonly string[] }) {
  const choices = (overview.value?.runs ?? []).filter(
    (run) => run.runId !== runId && !others.includes(run.runId) && run.step > 0,
  );
  return (
    <>
      {others.map((id) => (
        <button
          key={id}
          type="button"
          title="leave it out"
          onClick={() => setQuery({ with: others.filter((each) => each !== id).join(',') || undefined })}
        >
          {id} ✕
        </button>
      ))}
      {choices.length > 0 && (
        <label>
          compare with
          <select
            value=""
            onChange={({ currentTarget }) => setQuery({ with: [...others, currentTarget.value].join(',') })}
          >
            <option value="">…</option>
            {choices.map((run) => (
              <option key={run.runId} value={run.runId}>
                {run.runId}
              </option>
            ))}
          </select>
        </label>
      )}
    </>
  );
}

function rangeOf(query: URLSearchParams): readonly [from: number, to: number] | undefined {
  const [, from, to] = /^(\d+)-(\d+)$/.exec(query.get('steps') ?? '') ?? [];
  return from === undefined || to === undefined ? undefined : [Number(from), Number(to)];
}

const exponent = (value: number) => (value === 0 ? '0' : value.toExponential(1));
const oneDecimal = (value: number) => value.toFixed(1);
const percentOf = (value: number) => `${(100 * value).toFixed(1)} %`;

/** The lines of charts from the curves of the runs that are shown: of one curve each run has a colour, of more those of others are dashed. */
class Lines {
  readonly #stores: readonly CurveStore[];
  readonly #smoothing: number;

  constructor(stores: readonly CurveStore[], smoothing: number) {
    this.#stores = stores;
    this.#smoothing = smoothing;
  }

  has(name: string): boolean {
    return this.#stores.some((store) => (store.curve(name)?.steps.length ?? 0) > 0);
  }

  names(prefix: string): readonly string[] {
    return (this.#stores[0]?.names ?? []).filter((name) => name.startsWith(prefix)).sort();
  }

  /** The training loss and its sources, smoothed over their values, and the held-out loss. */
  loss(): ChartLine[] {
    // Of several runs the means alone, in one colour for each run: more lines nobody tells apart.
    if (this.#stores.length > 1) {
      const heldOut = this.#dots(['heldOut'], 0).map((line) => ({ ...line, isDashed: true }));
      return [...this.of(['loss'], this.#smoothing, false), ...heldOut];
    }
    const sources = this.names('loss.');
    const heldOut = ['heldOut', ...this.names('heldOut.')];
    return [
      ...this.of(['loss'], this.#smoothing, true),
      ...this.of(sources, this.#smoothing, false, 2),
      ...this.#dots(heldOut),
    ];
  }

  /** Curves by name, each in a colour of its own; one curve alone also with the values behind the smoothed ones. */
  of(
    names: readonly string[],
    smoothing = this.#smoothing,
    withValues = names.length === 1,
    firstColor = 0,
  ): ChartLine[] {
    const isMany = this.#stores.length > 1;
    return this.#stores.flatMap((store, run) =>
      names.flatMap((name, at): ChartLine[] => {
        const curve = store.curve(name);
        if (curve === undefined) return [];
        const color = lineColor(firstColor + (isMany && names.length === 1 ? run : at));
        const label = isMany ? `${words(name)} · ${store.runId.slice(-9)}` : words(name);
        const isDashed = run > 0 && names.length > 1;
        const line = { label, color, isDashed, steps: curve.steps, values: smoothed(curve.values, smoothing) };
        const behind = withValues && smoothing > 0 && !isMany;
        return behind ? [{ ...line, values: curve.values, isFaint: true }, line] : [line];
      }),
    );
  }

  #dots(names: readonly string[], firstColor = 1): ChartLine[] {
    const first = this.of(names, 0, false, firstColor);
    return first.map((line) => ({ ...line, hasDots: true, width: 1.25 }));
  }
}

const KNOWN_WORDS: Readonly<Record<string, string>> = {
  heldOut: 'held out',
  loss: 'training',
  tokensPerSecond: 'tokens/s',
  gradNorm: 'norm',
  learningRate: 'rate',
  mfu: 'MFU',
};

/** The name of a curve as people say it. */
function words(name: string): string {
  const known = KNOWN_WORDS[name];
  if (known !== undefined) return known;
  return name
    .replace(/^heldOut\./, 'held out, ')
    .replace(/^(seconds|score|loss)\./, '')
    .replace(/^moe\.(\d+)\..*/, 'layer $1');
}
