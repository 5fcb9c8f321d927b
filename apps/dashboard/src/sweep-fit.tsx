import { useSignal } from '@preact/signals';
import { decimal, large } from '@weft/common';
import type { PageFit, PagePrediction } from '@weft/contracts';
import { lineColor } from './colors.js';
import { Panel, Problem } from './parts.js';
import { useApi } from './use-api.js';
import { XyChart, type XyLine } from './xy-chart.js';

/** The law of a sweep over sizes of models, the losses over rates of every size, and the law's answer for another size. */
export function SweepFit({ sweepId, fit }: { sweepId: string; fit: PageFit }) {
  const typed = useSignal('');
  const asked = useSignal('');
  const params = quantity(asked.value);
  const base = `/api/sweeps/${encodeURIComponent(sweepId)}`;
  const { value, error } = useApi<PagePrediction>(
    params === undefined ? undefined : `${base}/predict?params=${params}`,
  );
  const ask = (event: Event) => {
    event.preventDefault();
    asked.value = typed.value;
  };
  const rSquared = fit.rSquared === null ? '' : `, R² ${fit.rSquared.toFixed(3)}`;
  return (
    <Panel
      title="Fit"
      aside={
        <span class="remark">
          <b class="mono">{fit.formula}</b>
          {rSquared}
        </span>
      }
    >
      {fit.warnings.map((warning) => (
        <p class="remark warn" key={warning}>
          {warning}
        </p>
      ))}
      <div class="toolbar">
        <form onSubmit={ask}>
          <label>
            which rate for
            <input
              type="text"
              size={8}
              placeholder="30B"
              aria-label="parameters without embeddings"
              value={typed.value}
              onInput={({ currentTarget }) => (typed.value = currentTarget.value)}
            />
            parameters?
          </label>
          <button type="submit">Tell</button>
        </form>
        {asked.value !== '' && params === undefined && (
          <span class="problem" role="alert">
            write a number such as 302M, 1.2e9 or 30B
          </span>
        )}
        <Problem error={error} />
        {value !== undefined && <Answer prediction={value} />}
      </div>
      <div class="charts two">
        <XyChart
          title="The best rate over the size of the model"
          lines={lawLines(fit, value)}
          bands={[[1, 2]]}
          xName="N"
          formatX={large}
          formatY={rateText}
          isLogY
          summary={`${fit.formula}; ${fit.optima.map(({ params: size, value: rate }) => `${rateText(rate)} at ${large(size)}`).join(', ')}`}
        />
        <XyChart
          title={`The ${fit.metric} over the rate, by size`}
          lines={gridLines(fit)}
          xName="η"
          formatX={rateText}
          formatY={decimal}
          summary={fit.optima.map(({ params: size, score }) => `${large(size)}: best ${decimal(score)}`).join(', ')}
        />
      </div>
    </Panel>
  );
}

function Answer({ prediction: { params, value, weightDecay, interval, outside } }: { prediction: PagePrediction }) {
  return (
    <span class="answer-text" role="status">
      η = <b class="number">{rateText(value)}</b> for {large(params)}
      {interval !== null && ` (from ${rateText(interval.low)} to ${rateText(interval.high)}, 95 %)`}
      {weightDecay !== null && `, λ = ${rateText(weightDecay)}`}
      {outside !== null && (
        <b class="warn-text">
          {' '}
          {outside.factor.toPrecision(2)} times {outside.side === 'above' ? 'larger' : 'smaller'} than what was measured
        </b>
      )}
    </span>
  );
}

function lawLines({ law, optima }: PageFit, prediction: PagePrediction | undefined): XyLine[] {
  const xs = law.map(({ params }) => params);
  const color = lineColor(0);
  return [
    { label: 'law', xs, ys: law.map(({ value }) => value), color },
    { label: 'low', xs, ys: law.map(({ interval }) => interval?.low ?? null), color, look: 'bandEdge' },
    { label: 'high', xs, ys: law.map(({ interval }) => interval?.high ?? null), color, look: 'bandEdge' },
    {
      label: 'best of a size',
      xs: optima.map(({ params }) => params),
      ys: optima.map(({ value }) => value),
      color: lineColor(1),
      look: 'dots',
    },
    ...(prediction === undefined
      ? []
      : [
          {
            label: 'asked for',
            xs: [prediction.params],
            ys: [prediction.value],
            color: lineColor(3),
            look: 'dots' as const,
          },
        ]),
  ];
}

/** A line for each size: the mean over seeds of every rate. */
function gridLines({ grid }: PageFit): XyLine[] {
  const sizes = [...new Set(grid.map(({ params }) => params))].sort((a, b) => a - b);
  return sizes.map((params, at) => {
    const own = grid.filter((point) => point.params === params);
    const rates = [...new Set(own.map(({ value }) => value))].sort((a, b) => a - b);
    const scoreAt = (rate: number) => {
      const scores = own.filter(({ value }) => value === rate).flatMap(({ score }) => score ?? []);
      return scores.length === 0 ? null : scores.reduce((sum, score) => sum + score, 0) / scores.length;
    };
    return { label: large(params), xs: rates, ys: rates.map(scoreAt), color: lineColor(at), look: 'lineWithDots' };
  });
}

const rateText = (value: number) => value.toExponential(1).replace('e+0', 'e0');

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, K: 1e3, M: 1e6, B: 1e9, T: 1e12 };

/** 302M, 1.2e9, 30 B → a whole number; undefined for what is none above 0. */
function quantity(text: string): number | undefined {
  const [, digits = '', unit = ''] = /^\s*([\d.]+(?:e[+-]?\d+)?)\s*([kKMBT]?)\s*$/.exec(text) ?? [];
  const value = Math.round(Number(digits) * (UNITS[unit] ?? Number.NaN));
  return digits !== '' && Number.isSafeInteger(value) && value > 0 ? value : undefined;
}
