import { WeftError } from '@weft/common';
import type { Home } from '@weft/files';
import type { DrivenSweep, DriverResult } from './drive-runs.js';
import { type Contender, earlyStopReason } from './early-stop.js';
import { type SweepSummary, summariseSweep } from './summarise-sweep.js';
import { writeSweepFiles } from './sweep-files.js';
import type { SweepOutline, SweepPoint } from './sweep-plan.js';
import { type SweepRun, sweepRun } from './sweep-run.js';

/** The result of a learning-rate sweep: `runs.csv`, `fit.json` and `fit.svg` are in the directory. JSON-serialisable. */
export interface SweepResult extends DriverResult {
  readonly law: NonNullable<SweepSummary['report']>['law'] | null;
  /** Why the runs determine no law. */
  readonly refusal: string | null;
  readonly predictions: SweepSummary['predictions'];
}

/** A learning-rate sweep for the driver: runs that cannot win are stopped, and a law is fitted to the others. */
export function drivenSweep(outline: SweepOutline, home: Home): DrivenSweep<SweepRun> {
  return {
    id: outline.id,
    read: readSweepRun(outline),
    hopeless: (run, runs) => hopelessReason(outline, run, runs),
    conclude: async (runs): Promise<SweepResult> => {
      const summary = summariseSweep(outline, runs);
      const directory = await writeSweepFiles(home, outline, runs, summary);
      const { report, refusal, predictions } = summary;
      return { directory, law: report?.law ?? null, refusal: refusal?.message ?? null, predictions };
    },
  };
}

/** Reads the runs of a sweep by their index. */
export function readSweepRun({ id, sweep, runs: points }: SweepOutline): DrivenSweep<SweepRun>['read'] {
  return (index, view, rows) => {
    const point = points[index];
    if (point === undefined) throw new WeftError('internal', `the sweep ${id} has more runs than its record`);
    return sweepRun(point, view, rows, sweep);
  };
}

/** Why a run should be stopped that is far behind the others of its scale and seed. */
function hopelessReason(
  { sweep: { earlyStop } }: SweepOutline,
  { planned, view, losses }: SweepRun,
  runs: readonly SweepRun[],
): string | undefined {
  if (earlyStop === null) return undefined;
  const siblings = runs.filter((other) => isSibling(other.planned, planned)).map(contender);
  return earlyStopReason(contender({ planned, losses }), view.steps, siblings, earlyStop);
}

function contender({ planned, losses }: Pick<SweepRun, 'planned' | 'losses'>): Contender {
  return { learningRate: planned.learningRate, losses };
}

function isSibling(other: SweepPoint, point: SweepPoint): boolean {
  return other !== point && other.scale === point.scale && other.seed === point.seed;
}
