import type { RunView } from '@weft/contracts';
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { ApiError } from './api.js';

const TONES: Readonly<Record<RunView['status'], string>> = {
  queued: 'wait',
  running: 'good',
  stopping: 'warn',
  finished: 'done',
  stopped: 'idle',
  failed: 'bad',
  interrupted: 'warn',
};

/** The status of a run, as a word with a mark. */
export function Status({ status }: Pick<RunView, 'status'>) {
  return <span class={`status ${TONES[status]}`}>{status}</span>;
}

/** How far a run is. */
export function Progress({ step, steps, status }: Pick<RunView, 'step' | 'steps' | 'status'>) {
  const label = `step ${step} of ${steps}`;
  return (
    <span class="progress">
      <progress class={TONES[status]} value={step} max={Math.max(1, steps)} aria-label={label} />
      <span class="number" aria-hidden="true">
        {step.toLocaleString('en')}/{steps.toLocaleString('en')}
      </span>
    </span>
  );
}

/** One number that people look for. */
export function Figure(props: { name: string; value: ComponentChildren; note?: ComponentChildren; tone?: string }) {
  return (
    <div class={`figure ${props.tone ?? ''}`}>
      <dt>{props.name}</dt>
      <dd>
        <span class="value">{props.value}</span>
        {props.note !== undefined && <span class="note">{props.note}</span>}
      </dd>
    </div>
  );
}

export function Panel(props: {
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}) {
  return (
    <section class={`panel ${props.class ?? ''}`} aria-label={props.title}>
      <header>
        <h2>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

/** What there is nothing of yet. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** A refusal of the coordinator. */
export function Problem({ error }: { error: unknown }) {
  if (error === undefined) return null;
  const message = error instanceof Error ? error.message : String(error);
  const hint = error instanceof ApiError ? error.hint : null;
  return (
    <p class="problem" role="alert">
      {message}
      {hint !== null && <span class="hint">: {hint}</span>}
    </p>
  );
}

/** A button that changes something: it waits for the answer and shows a refusal. */
export function Action(props: {
  label: string;
  run: () => Promise<unknown>;
  /** A question to answer first. */
  confirm?: string;
  class?: string;
  title?: string;
  isDisabled?: boolean;
}) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const act = async () => {
    if (props.confirm !== undefined && !confirm(props.confirm)) return;
    setBusy(true);
    setError(undefined);
    await props.run().catch(setError);
    setBusy(false);
  };
  return (
    <span class="action">
      <button
        type="button"
        class={props.class ?? ''}
        title={props.title}
        disabled={isBusy || props.isDisabled === true}
        onClick={() => void act()}
      >
        {props.label}
      </button>
      <Problem error={error} />
    </span>
  );
}

/** How a line of a chart looks, in its legend. */
export function LineMark(props: { color: string; look?: 'line' | 'dashed' | 'lineWithDots' | 'dots' | undefined }) {
  const { color, look = 'line' } = props;
  const hasLine = look !== 'dots';
  return (
    <svg width="14" height="8" aria-hidden="true">
      {hasLine && (
        <line
          x1="0"
          x2="14"
          y1="4"
          y2="4"
          stroke={color}
          stroke-width={look === 'lineWithDots' ? 1.5 : 3}
          stroke-dasharray={look === 'dashed' ? '4 2' : undefined}
        />
      )}
      {(look === 'dots' || look === 'lineWithDots') && <circle cx="7" cy="4" r="3.5" fill={color} />}
    </svg>
  );
}
