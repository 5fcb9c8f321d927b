import { useSignal } from '@preact/signals';
import { hasEnded, type PageLogLine, type PageLogs, type PageRun } from '@weft/contracts';
import { runPath } from './api.js';
import { localTime } from './events-view.js';
import { nowMs } from './live.js';
import { Empty, Panel, Problem } from './parts.js';
import { useApi } from './use-api.js';

const LINES = 500;

/** The last lines that the processes of this machine printed, one log at a time. */
export function LogsView() {
  const file = useSignal('');
  const path = `/api/logs?lines=${LINES}${file.value === '' ? '' : `&file=${encodeURIComponent(file.value)}`}`;
  const { value, error } = useApi<PageLogs>(path, Math.floor(nowMs.value / 3000));
  return (
    <>
      <h1>Logs</h1>
      <Problem error={error} />
      {value?.files.length === 0 && (
        <Empty>
          No process of this machine keeps a log here. Those that <code>weft launch --local</code> starts do.
        </Empty>
      )}
      {value !== undefined && value.files.length > 0 && (
        <LogPanel title={value.file ?? 'log'} lines={value.lines}>
          <label>
            of
            <select value={value.file ?? ''} onChange={({ currentTarget }) => (file.value = currentTarget.value)}>
              {value.files.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        </LogPanel>
      )}
    </>
  );
}

/** What all processes of this machine wrote about a run. */
export function RunLogsView({ shown: { run } }: { shown: PageRun }) {
  const again = hasEnded(run) ? run.status : Math.floor(nowMs.value / 3000);
  const { value, error } = useApi<PageLogs>(`${runPath(run.runId, 'logs')}?lines=${LINES}`, again);
  if (error !== undefined) return <Problem error={error} />;
  if (value === undefined) return <p class="loading">Reading the logs …</p>;
  if (value.lines.length === 0)
    return (
      <Empty>
        No process of this machine wrote about this run. Workers that <code>weft launch --local</code> did not start
        print their logs where they were started.
      </Empty>
    );
  return <LogPanel title="What its processes wrote" lines={value.lines} />;
}

interface LogPanelProps {
  readonly title: string;
  readonly lines: readonly PageLogLine[];
  readonly children?: preact.ComponentChildren;
}

/** Lines, the newest first, of the level and with the words that a person asks for. */
function LogPanel({ title, lines, children }: LogPanelProps) {
  const level = useSignal('all');
  const words = useSignal('');
  const processes = [...new Set(lines.map(nameOf))].filter((name) => name !== '').sort();
  const process = useSignal('');
  const wanted = words.value.toLowerCase();
  const shown = lines.filter(
    (line) =>
      (level.value === 'all' || /^(warn|error|fatal)$/.test(line.level)) &&
      (process.value === '' || nameOf(line) === process.value) &&
      (wanted === '' || `${line.message} ${line.details}`.toLowerCase().includes(wanted)),
  );
  return (
    <Panel
      title={title}
      aside={
        <span class="remark">
          {shown.length === lines.length
            ? `the last ${lines.length} lines`
            : `${shown.length} of ${lines.length} lines`}
        </span>
      }
    >
      <div class="toolbar">
        {children}
        {processes.length > 1 && (
          <label>
            of
            <select value={process.value} onChange={({ currentTarget }) => (process.value = currentTarget.value)}>
              <option value="">all processes</option>
              {processes.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
        <label>
          show
          <select value={level.value} onChange={({ currentTarget }) => (level.value = currentTarget.value)}>
            <option value="all">all lines</option>
            <option value="warnings">warnings and errors</option>
          </select>
        </label>
        <label>
          with
          <input
            type="search"
            placeholder="words"
            value={words.value}
            onInput={({ currentTarget }) => (words.value = currentTarget.value)}
          />
        </label>
      </div>
      {shown.length === 0 && <Empty>No line is like that.</Empty>}
      <ol class="events log">
        {shown.toReversed().map((line, at) => (
          <li key={at} class={line.level === 'warn' ? 'warning' : /error|fatal/.test(line.level) ? 'bad' : 'plain'}>
            <time dateTime={line.time}>{localTime(line.time)}</time>
            <span>
              {nameOf(line) !== '' && <b class="who">{nameOf(line)}</b>}
              {line.message} <Details text={line.details} />
            </span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

const nameOf = ({ process, rank }: PageLogLine) =>
  rank !== null && process.startsWith('worker') ? `rank ${rank}` : process;

/** Fields that say what the line says already. */
const KNOWN = ['runId', 'rank', 'workerId', 'generation', 'event'];
const LONGEST = 160;

/** The other fields of a line; what is long is opened by a press. */
function Details({ text }: { text: string }) {
  if (text === '') return null;
  const fields = Object.entries(JSON.parse(text) as Record<string, unknown>).filter(([name]) => !KNOWN.includes(name));
  if (fields.length === 0) return null;
  const written = fields.map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const line = written.join(' ');
  if (line.length <= LONGEST) return <small class="mono">{line}</small>;
  return (
    <details>
      <summary>{fields.map(([name]) => name).join(', ')}</summary>
      <pre>{fields.map(([name, value]) => `${name}: ${detailText(value)}`).join('\n')}</pre>
    </details>
  );
}

function detailText(value: unknown): string {
  if (typeof value === 'string') return value;
  const { stack, ...others }: { stack?: unknown } = typeof value === 'object' && value !== null ? { ...value } : {};
  if (typeof stack !== 'string') return JSON.stringify(value, null, 2);
  return `${JSON.stringify(others, null, 2)}\n${stack}`;
}
