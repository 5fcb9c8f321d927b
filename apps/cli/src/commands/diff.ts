import { RunRows, withRun } from '@weft/client';
import { count, type Difference, decimal, differences, duration, WeftError } from '@weft/common';
import { hasEnded, type RunView } from '@weft/contracts';
import { readJsonFile } from '@weft/files';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { type ComparedLosses, compareLosses } from '../runs/compare-losses.js';
import { statusStyle } from '../runs/describe-run.js';
import { type Line, printLines, span, table } from '../styled-lines.js';
import { printJson } from '../terminal.js';

/**
 * `weft diff`: in what two runs differ: their configurations, what came of them, and from which step on their losses.
 *
 * @throws WeftError `invalid_argument` when both are one run, `failed_precondition` when the configuration of one is elsewhere
 */
export async function diff(context: CommandContext, first: string, second: string): Promise<number> {
  const { terminal, json } = context;
  return withRun(context, first, ({ run: one }) =>
    withRun(context, second, async ({ run: other }) => {
      if (one.runId === other.runId)
        throw new WeftError('invalid_argument', `${first} and ${second} both name the run ${one.runId}`, {
          hint: 'name another run; weft ls lists them',
        });
      const runs = [one, other] as const;
      const fields = differences(await Promise.all(runs.map(configOf)));
      const [rows, otherRows] = await Promise.all([RunRows.open(one), RunRows.open(other)]);
      const losses = await compareLosses(rows, otherRows);
      if (json) printJson(terminal, { runs: runs.map(({ runId }) => runId), fields, losses });
      else printLines(terminal, renderDiff(runs, fields, losses));
      return EXIT.done;
    }),
  );
}

/** The lines of `weft diff`. */
export function renderDiff(
  runs: readonly [RunView, RunView],
  fields: readonly Difference[],
  losses: ComparedLosses,
): Line[] {
  const outcome = (name: string, of: (run: RunView) => ReturnType<typeof span> | string) => [name, ...runs.map(of)];
  const columns = [{ title: '' }, ...runs.map(({ runId }) => ({ title: runId }))];
  const sameConfig = fields.length === 0 ? [[span('Both have the same configuration.')], []] : [];
  return [
    ...table(columns, [
      ...fields.map(({ name, values }) => [span(name, 'bold'), ...values.map((value) => value ?? '–')]),
      outcome('status', ({ status }) => span(status, statusStyle(status))),
      outcome('step', ({ step, steps }) => `${count(step)} of ${count(steps)}`),
      outcome('loss', ({ loss }) => decimal(loss)),
      outcome('lasted', (run) =>
        hasEnded(run) ? duration((run.updatedAtMs - run.createdAtMs) / 1000) : span('goes on', 'dim'),
      ),
    ]),
    [],
    ...sameConfig,
    [span(lossSentence(losses))],
  ];
}

function lossSentence({ steps, firstDifference, last }: ComparedLosses): string {
  if (last === undefined) return 'There is no step that both have trained, or its rows are on another machine.';
  if (firstDifference === undefined)
    return `The losses are equal, bit for bit, in the ${count(steps)} steps that both have trained.`;
  const pair = ({ losses }: typeof last) => losses.map((loss) => decimal(loss)).join(' and ');
  const from = `The losses differ from step ${count(firstDifference.step)} on: ${pair(firstDifference)}`;
  return firstDifference.step === last.step
    ? `${from}.`
    : `${from}; at step ${count(last.step)}, the last that both have trained: ${pair(last)}.`;
}

async function configOf({ directory, runId }: RunView): Promise<unknown> {
  const path = `${directory}/config.json`;
  try {
    return await readJsonFile(path);
  } catch (cause) {
    throw new WeftError(
      'failed_precondition',
      `the configuration of run ${runId} is not on this machine: ${path} cannot be read`,
      { cause, hint: 'compare them on the machine of their coordinator' },
    );
  }
}
