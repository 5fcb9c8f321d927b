import { useSignal } from '@preact/signals';
import { count } from '@weft/common';
import type { PageConsumptions, PageRun, PageStep, SequenceContents } from '@weft/contracts';
import { runPath } from './api.js';
import { lineColor } from './colors.js';
import { Empty, Panel, Problem } from './parts.js';
import { link, route, setQuery } from './router.js';
import { useApi } from './use-api.js';

/** What a run eats: its mixture, and the sequences of a step. */
export function RunDataView({ shown }: { shown: PageRun }) {
  return (
    <>
      <Mixture shown={shown} />
      <LedgerSearch shown={shown} />
    </>
  );
}

function Mixture({ shown: { mixture } }: { shown: PageRun }) {
  const sources = Object.keys(mixture.weights);
  const total = (values: Readonly<Record<string, number>>) =>
    Object.values(values).reduce((sum, value) => sum + value, 0);
  const [consumed, weights] = [total(mixture.consumed), total(mixture.weights)];
  const share = (source: string) => (consumed === 0 ? 0 : (mixture.consumed[source] ?? 0) / consumed);
  return (
    <Panel title="Mixture" aside={<span class="remark">{count(consumed)} sequences consumed</span>}>
      <div class="stack" aria-hidden="true">
        {sources.map((source, at) => (
          <span key={source} style={{ flexGrow: share(source) * 1000, background: lineColor(at) }} title={source} />
        ))}
      </div>
      <div class="scroll">
        <table class="list">
          <thead>
            <tr>
              <th scope="col">source</th>
              <th scope="col" class="number">
                sequences
              </th>
              <th scope="col" class="number">
                share
              </th>
              <th scope="col" class="number">
                target
              </th>
              <th scope="col" class="number">
                from target
              </th>
            </tr>
          </thead>
          <tbody>
            {sources.map((source, at) => {
              const target = (mixture.weights[source] ?? 0) / weights;
              const behind = (mixture.consumed[source] ?? 0) - (mixture.shares[source] ?? 0);
              return (
                <tr key={source}>
                  <th scope="row">
                    <span class="swatch" style={{ background: lineColor(at) }} /> {source}
                  </th>
                  <td class="number">{count(mixture.consumed[source] ?? 0)}</td>
                  <td class="number">{(100 * share(source)).toFixed(2)} %</td>
                  <td class="number">{(100 * target).toFixed(2)} %</td>
                  <td class="number">
                    {behind > 0 ? '+' : ''}
                    {behind.toFixed(1)} sequences
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

/** What did step S eat, and when was sequence X eaten? */
function LedgerSearch({ shown: { run, mixture } }: { shown: PageRun }) {
  const { query } = route.value;
  const [source, index] = (query.get('sequence') ?? '').split(':');
  const step = query.get('step') || (index === undefined && run.step > 0 ? `${run.step}` : '');
  const typed = useSignal(query.get('step') ?? '');
  const typedSource = useSignal(source || Object.keys(mixture.weights)[0] || '');
  const typedIndex = useSignal(index ?? '');
  const askStep = (event: Event) => {
    event.preventDefault();
    setQuery({ step: typed.value, sequence: undefined });
  };
  const askSequence = (event: Event) => {
    event.preventDefault();
    setQuery({ step: undefined, sequence: `${typedSource.value}:${typedIndex.value}` });
  };
  return (
    <Panel title="Ledger">
      <div class="toolbar">
        <form onSubmit={askStep}>
          <label>
            what did step
            <input
              type="number"
              min="1"
              max={run.step}
              placeholder={step}
              value={typed.value}
              onInput={(event) => (typed.value = event.currentTarget.value)}
            />
            eat?
          </label>
          <button type="submit">Show</button>
        </form>
        <form onSubmit={askSequence}>
          <label>
            when was
            <select value={typedSource.value} onChange={(event) => (typedSource.value = event.currentTarget.value)}>
              {Object.keys(mixture.weights).map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          <label>
            number
            <input
              type="number"
              min="0"
              value={typedIndex.value}
              onInput={(event) => (typedIndex.value = event.currentTarget.value)}
            />
            eaten?
          </label>
          <button type="submit">Show</button>
        </form>
      </div>
      {index !== undefined && source !== undefined ? (
        <WhenEaten runId={run.runId} source={source} index={index} />
      ) : step === '' ? (
        <Empty>No step has been trained yet.</Empty>
      ) : (
        <WhatWasEaten runId={run.runId} step={step} lastStep={run.step} />
      )}
    </Panel>
  );
}

function WhatWasEaten({ runId, step, lastStep }: { runId: string; step: string; lastStep: number }) {
  const { value, error } = useApi<PageStep>(runPath(runId, 'steps', step));
  const go = (to: number) => setQuery({ step: `${to}`, sequence: undefined });
  const number = Number(step);
  return (
    <>
      <p class="answer">
        <button type="button" disabled={number <= 1} onClick={() => go(number - 1)} aria-label="the step before">
          ←
        </button>
        <b>Step {number.toLocaleString('en')}</b>
        <button type="button" disabled={number >= lastStep} onClick={() => go(number + 1)} aria-label="the next step">
          →
        </button>
        {value !== undefined && (
          <span class="remark">
            {count(value.sequenceCount)} sequences
            {value.sequences.length < value.sequenceCount ? `, the first ${value.sequences.length} of them` : ''}
          </span>
        )}
      </p>
      <Problem error={error} />
      {value === undefined && error === undefined && <p class="loading">Reading what it ate …</p>}
      <ol class="sequences">
        {value?.sequences.map((sequence, at) => (
          <Sequence key={at} runId={runId} sequence={sequence} />
        ))}
      </ol>
    </>
  );
}

function WhenEaten({ runId, source, index }: { runId: string; source: string; index: string }) {
  const { value, error } = useApi<PageConsumptions>(runPath(runId, 'sequences', source, index));
  return (
    <>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <p class="answer">
            <b>
              {source} {index}
            </b>
            {value.isHeldOut
              ? ' is held out: it is never trained on.'
              : value.consumptions.length === 0
                ? ' has not been eaten yet.'
                : ' was eaten in '}
            {value.consumptions.map(({ step, epoch }, at) => (
              <span key={step}>
                {at > 0 && ', '}
                <a href={link(['runs', runId, 'data'], { step: `${step}` })}>step {step}</a> (pass {epoch + 1})
              </span>
            ))}
          </p>
          <ol class="sequences">
            <Sequence runId={runId} sequence={value.sequence} />
          </ol>
        </>
      )}
    </>
  );
}

/** A packed sequence as the model reads it: its documents one after the other. */
function Sequence({ runId, sequence }: { runId: string; sequence: SequenceContents }) {
  const { source, index, epoch, positions, capacity, segments } = sequence;
  return (
    <li>
      <p class="label">
        <a href={link(['runs', runId, 'data'], { sequence: `${source}:${index}` })}>
          {source} {index}
        </a>
        <span>
          {positions} of {capacity} positions{epoch === null || epoch === 0 ? '' : `, pass ${epoch + 1}`}
        </span>
      </p>
      {segments.map(({ document, part, pieces }, at) => (
        <div class="document" key={at} title={`document ${document}${part === 0 ? '' : `, part ${part + 1}`}`}>
          {pieces.map((piece, number) =>
            'text' in piece ? (
              <span key={number}>{piece.text}</span>
            ) : (
              <img
                key={number}
                loading="lazy"
                alt={`${piece.image + 1} of this sequence`}
                src={runPath(runId, 'sequences', source, index, 'images', piece.image)}
              />
            ),
          )}
        </div>
      ))}
    </li>
  );
}
