import { hasEnded, type PageExperts, type PageRun } from '@weft/contracts';
import { useEffect, useRef, useState } from 'preact/hooks';
import { runPath } from './api.js';
import { themeVersion } from './chart.js';
import { channels, resolveColor } from './colors.js';
import { nowMs } from './live.js';
import { Empty, Panel, Problem } from './parts.js';
import { useApi } from './use-api.js';

const POINTS = 200;

/** The load of every expert over the run: a row of a picture for each expert. */
export function ExpertsView({ shown: { run } }: { shown: PageRun }) {
  const { value, error } = useApi<PageExperts>(
    `${runPath(run.runId, 'experts')}?points=${POINTS}`,
    hasEnded(run) ? run.status : Math.floor(nowMs.value / 3000),
  );
  if (error !== undefined) return <Problem error={error} />;
  if (value === undefined) return <p class="loading">Loading …</p>;
  if (value.layers.length === 0) return <Empty>The model of this run has no layers of experts.</Empty>;
  return (
    <>
      <div class="heat-key">
        <span>wanted</span>
        <b>a quarter as much</b>
        <i aria-hidden="true" />
        <b>four times as much</b>
        <span>as the average expert. What is over an expert's capacity is dropped.</span>
      </div>
      <div class="charts">
        {value.layers.map(({ layer, load, dropped }) => {
          const last = load.at(-1) ?? [];
          const most = Math.max(...last);
          const words = `layer ${layer}: the busiest expert is ${last.indexOf(most)}, with ${most.toFixed(2)} times the average; ${(100 * (dropped.at(-1) ?? 0)).toFixed(1)} % dropped`;
          return (
            <Panel
              key={layer}
              title={`Layer ${layer}`}
              aside={<span class="remark">{words.replace(/^layer \d+: /, '')}</span>}
            >
              <HeatMap columns={load} steps={value.steps} label={words} />
            </Panel>
          );
        })}
      </div>
    </>
  );
}

/** One cell for a step and an expert; the pointer reads it. @param columns by step, then by expert: 1 is the average */
function HeatMap(props: { columns: readonly (readonly number[])[]; steps: readonly number[]; label: string }) {
  const { columns, steps, label } = props;
  const [at, setAt] = useState<readonly [x: number, y: number] | undefined>();
  const canvas = useRef<HTMLCanvasElement>(null);
  const rows = columns[0]?.length ?? 0;
  const theme = themeVersion.value;
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (context == null) return;
    const image = context.createImageData(columns.length, Math.max(1, rows));
    const [low, middle, high] = ['var(--line-1)', 'var(--grid)', 'var(--line-2)'].map((color) =>
      channels(resolveColor(color)),
    );
    for (const [x, column] of columns.entries())
      for (const [y, load] of column.entries()) {
        const part = Math.min(1, Math.abs(Math.log2(Math.max(load, 0.01))) / 2);
        const end = load < 1 ? low! : high!;
        const at = 4 * (y * columns.length + x);
        for (let channel = 0; channel < 3; channel++)
          image.data[at + channel] = middle![channel]! + part * (end[channel]! - middle![channel]!);
        image.data[at + 3] = 255;
      }
    context.putImageData(image, 0, 0);
  }, [columns, rows, theme]);
  const point = ({ offsetX, offsetY, currentTarget }: MouseEvent) => {
    const { clientWidth, clientHeight } = currentTarget as HTMLCanvasElement;
    const [x, y] = [Math.floor((offsetX / clientWidth) * columns.length), Math.floor((offsetY / clientHeight) * rows)];
    setAt([Math.min(columns.length - 1, Math.max(0, x)), Math.min(rows - 1, Math.max(0, y))]);
  };
  const read = at === undefined ? undefined : columns[at[0]]?.[at[1]];
  return (
    <div class="heat-map">
      <div class="experts" aria-hidden="true">
        <span>expert 0</span>
        <span>{rows - 1}</span>
      </div>
      <canvas
        class="heat"
        ref={canvas}
        width={columns.length}
        height={Math.max(1, rows)}
        role="img"
        aria-label={label}
        style={{ height: `${Math.min(360, Math.max(96, rows * 16))}px` }}
        onMouseMove={point}
        onMouseLeave={() => setAt(undefined)}
      />
      <div class="steps number" aria-hidden="true">
        <span>step {steps[0]?.toLocaleString('en')}</span>
        <span>
          {at !== undefined &&
            read !== undefined &&
            `step ${steps[at[0]]}, expert ${at[1]}: ${read.toFixed(2)} × the average`}
        </span>
        <span>{steps.at(-1)?.toLocaleString('en')}</span>
      </div>
    </div>
  );
}
