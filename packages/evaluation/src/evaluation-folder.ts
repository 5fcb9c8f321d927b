import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isJsonObject, WeftError } from '@weft/common';
import { averageScores, type ScoreAverages, type TaskScore, type TaskScores } from '@weft/contracts';
import { diskStore, isMissing, readJsonFile, writeJsonFile } from '@weft/files';
import { barPlot } from '@weft/scaling';
import type { ExampleResult } from './score-tasks.js';

/** `results.json` of an evaluation. */
export interface EvaluationRecord extends ScoreAverages {
  readonly run: string;
  readonly step: number;
  readonly scores: readonly TaskScore[];
}

/** Which of the ranks writes. */
export interface RankPlace {
  readonly rank: number;
  readonly worldSize: number;
}

/**
 * What an evaluation of one checkpoint leaves:
 *
 *   results.json                    the scores
 *   results.svg                     the scores, a bar for every task and number of shots
 *   examples/<task>-<n>-shot.jsonl  every example: prompt, output, what it is compared with, score
 */
export class EvaluationFolder {
  readonly directory: string;

  /** The folder of a step of a run: `<run>/evaluations/step-00000060`. */
  static ofRun(runDirectory: string, step: number): EvaluationFolder {
    return new EvaluationFolder(join(runDirectory, 'evaluations', `step-${String(step).padStart(8, '0')}`));
  }

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Writes a rank's examples of a task. With several ranks each writes a file of its own. */
  async writeExamples(task: string, shots: number, results: readonly ExampleResult[], place: RankPlace): Promise<void> {
    await diskStore.write(this.#examples(task, shots, place), linesOf(results));
  }

  /**
   * Makes one file of those of all ranks, once all are written. Where their files cannot be seen here, because the ranks
   * share no disk, they stay as they are.
   */
  async joinExamples(task: string, shots: number, worldSize: number): Promise<void> {
    if (worldSize === 1) return;
    const paths = Array.from({ length: worldSize }, (_, rank) => this.#examples(task, shots, { rank, worldSize }));
    const parts: Buffer[] = [];
    for (const path of paths) {
      try {
        parts.push(await readFile(path));
      } catch (thrown) {
        if (isMissing(thrown)) return;
        throw WeftError.from(thrown);
      }
    }
    await diskStore.write(this.#examples(task, shots, { rank: 0, worldSize: 1 }), parts);
    for (const path of paths) await rm(path, { force: true });
  }

  /** Writes the scores. Those of other tasks, or other numbers of shots, that were taken before stay. */
  async writeResults(run: string, step: number, { scores }: TaskScores): Promise<EvaluationRecord> {
    const isNew = (old: TaskScore) => !scores.some(({ task, shots }) => task === old.task && shots === old.shots);
    const all = [...(await this.#earlierScores()).filter(isNew), ...scores];
    const record: EvaluationRecord = { run, step, scores: all, ...averageScores(all) };
    await writeJsonFile(this.#results, record);
    await diskStore.write(join(this.directory, 'results.svg'), scorePlot(record));
    return record;
  }

  async #earlierScores(): Promise<readonly TaskScore[]> {
    const earlier = await readJsonFile(this.#results).catch((thrown: unknown) => {
      if (WeftError.is(thrown, 'not_found') || WeftError.is(thrown, 'corrupt_data')) return undefined;
      throw thrown;
    });
    // A file of this name that is not ours has no scores.
    if (!isJsonObject(earlier) || !Array.isArray(earlier.scores)) return [];
    return (earlier.scores as readonly TaskScore[]).filter(
      (score) => typeof score?.task === 'string' && typeof score.score === 'number',
    );
  }

  get #results(): string {
    return join(this.directory, 'results.json');
  }

  #examples(task: string, shots: number, { rank, worldSize }: RankPlace): string {
    const part = worldSize === 1 ? '' : `.part-${rank + 1}-of-${worldSize}`;
    return join(this.directory, 'examples', `${task}-${shots}-shot${part}.jsonl`);
  }
}

/** One at a time: together they may be more than one text can hold. */
function* linesOf(results: readonly ExampleResult[]): Generator<Buffer> {
  for (const result of results) yield Buffer.from(`${JSON.stringify(result)}\n`);
}

/** From few to many shots; then they repeat. */
const COLORS = ['#93c5fd', '#3b82f6', '#1d4ed8', '#172554'];

/** A row for every task and for the mean over those with images, a bar for every number of shots. */
function scorePlot({ run, step, scores, average }: EvaluationRecord): string {
  const tasks = [...new Set(scores.map(({ task }) => task))];
  const shots = [...new Set(scores.map((each) => each.shots))].toSorted((a, b) => a - b);
  const scoreOf = (task: string, count: number) =>
    scores.find((each) => each.task === task && each.shots === count)?.score;
  const isMean =
    new Set(scores.filter(({ kind }) => kind === 'caption' || kind === 'question').map(({ task }) => task)).size > 1;
  const finite = (value: number | undefined) => (value !== undefined && Number.isFinite(value) ? value : null);
  return barPlot({
    title: `${run}, step ${step}`,
    subtitle: 'captions: 100 · CIDEr; all else: accuracy in per cent',
    xTitle: 'score',
    rows: [...tasks, ...(isMean ? ['average (with images)'] : [])],
    series: shots.map((count, i) => ({
      name: `${count}-shot`,
      color: COLORS[i % COLORS.length] ?? '',
      values: [...tasks.map((task) => finite(scoreOf(task, count))), ...(isMean ? [finite(average[count])] : [])],
    })),
  });
}
