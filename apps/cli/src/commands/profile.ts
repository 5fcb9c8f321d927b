import { resolve } from 'node:path';
import { withRun } from '@weft/client';
import { count, refuse, WeftError } from '@weft/common';
import { hasEnded } from '@weft/contracts';
import { shortPath, writeFileAtomically } from '@weft/files';
import type { ProfiledProcess } from '@weft/proto';
import type { CommandContext } from '../context.js';
import { refuseExisting } from '../export/refuse-existing.js';
import { Interrupts } from '../interrupts.js';
import { chromeTrace, nameOf, type TraceSubject } from '../profile/chrome-trace.js';
import { EXIT } from '../report-error.js';
import { print, printJson } from '../terminal.js';

/** Options of `weft profile`. */
export interface ProfileOptions {
  readonly steps: number;
  readonly output?: string;
}

/**
 * `weft profile`: what all processes of a run that trains do in its next steps, on one time line, as a file for ui.perfetto.dev.
 *
 * @throws WeftError `already_exists` for an output that is there, `unavailable` without a coordinator, `failed_precondition` for a
 *   run that does not train or is about to end
 */
export async function profile(context: CommandContext, text: string, options: ProfileOptions): Promise<number> {
  const { terminal, json } = context;
  return withRun(context, text, async ({ run, client }) => {
    const path = resolve(options.output ?? `${run.runId}-profile.json`);
    await refuseExisting(path);
    if (client === undefined || hasEnded(run))
      refuse(
        'failed_precondition',
        `run ${run.runId} does not train now, so there is nothing to profile`,
        'profile a run that trains',
      );
    const interrupts = new Interrupts();
    try {
      const processes: ProfiledProcess[] = [];
      let subject: TraceSubject | undefined;
      for await (const { body } of client.profile(run.runId, options.steps, interrupts.first)) {
        if (body?.$case === 'process') processes.push(body.process);
        if (body?.$case !== 'plan') continue;
        const { firstStep, lastStep } = body.plan;
        subject = { runId: run.runId, firstStep, lastStep };
        if (!json) print(terminal, `Recording ${stepsOf(subject)} of ${body.plan.processes} processes …`);
      }
      if (subject === undefined) throw new WeftError('internal', 'the coordinator did not say what it recorded');
      const whole = joined(processes);
      await writeFileAtomically(path, JSON.stringify(chromeTrace(subject, whole)));
      const spans = whole.reduce((sum, each) => sum + each.spans.length, 0);
      const errorMs = Math.max(0, ...whole.map(({ clockErrorMs }) => clockErrorMs));
      if (json) printJson(terminal, { ...subject, path, spans, clockErrorMs: errorMs, processes: whole.map(describe) });
      else {
        print(terminal, `${shortPath(path)}: ${stepsOf(subject)}, ${count(spans)} spans of ${whole.length} processes.`);
        print(
          terminal,
          `Their clocks are aligned to ${errorMs.toFixed(1)} ms. Open it in https://ui.perfetto.dev or chrome://tracing.`,
        );
        for (const each of whole.filter(({ lost, leftOut }) => lost !== '' || leftOut > 0))
          print(
            terminal,
            `${nameOf(each)} is incomplete: ${each.lost || `${count(each.leftOut)} spans were left out`}.`,
          );
      }
      return EXIT.done;
    } catch (thrown) {
      if (interrupts.first.aborted) return EXIT.stopped;
      throw thrown;
    } finally {
      interrupts.close();
    }
  });
}

const stepsOf = ({ firstStep, lastStep }: TraceSubject) =>
  firstStep === lastStep ? `step ${firstStep}` : `steps ${firstStep} to ${lastStep}`;

/** A process that sent much comes in several messages. */
function joined(parts: readonly ProfiledProcess[]): ProfiledProcess[] {
  const whole = new Map<string, ProfiledProcess>();
  for (const part of parts) {
    const before = whole.get(part.workerId);
    whole.set(part.workerId, { ...part, spans: [...(before?.spans ?? []), ...part.spans] });
  }
  return [...whole.values()];
}

function describe({ spans, ...process }: ProfiledProcess): object {
  return { name: nameOf(process), ...process, role: undefined, spans: spans.length };
}
