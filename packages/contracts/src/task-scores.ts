import type { TaskScores as TaskScoresMessage } from '@weft/proto';

/** What an evaluation asks of a model: see `EvaluationTask` of config. */
const SCORED_KINDS = ['caption', 'question', 'multipleChoice', 'lastWord'] as const;
type ScoredKind = (typeof SCORED_KINDS)[number];

/** The score of one task with one number of shots. Every number is global, the same on all ranks. */
export interface TaskScore {
  readonly task: string;
  readonly kind: ScoredKind;
  /** Solved examples before the one that is asked. */
  readonly shots: number;
  /** Of captions 100 · CIDEr, of all else per cent: as papers print them. Higher is better. */
  readonly score: number;
  readonly examples: number;
  /** Of choices the accuracy by likelihood per byte, of last words the perplexity; null for the others. */
  readonly second: { readonly name: 'accuracyPerByte' | 'perplexity'; readonly value: number } | null;
  /** Examples that had fewer shots, because more did not fit into the sequence. */
  readonly shortened: number;
}

/** The scores of all tasks after a step. */
export interface TaskScores {
  readonly scores: readonly TaskScore[];
  readonly seconds: number;
}

/** Means over tasks, by the number of shots: of those about images, and of those about texts alone. */
export interface ScoreAverages {
  readonly average: Readonly<Record<string, number>>;
  readonly textAverage: Readonly<Record<string, number>>;
}

/** The mean over the tasks with images, as in the learning-rate fit of MM1, and the mean over the tasks without. */
export function averageScores(scores: readonly TaskScore[]): ScoreAverages {
  const hasImages = ({ kind }: TaskScore) => kind === 'caption' || kind === 'question';
  return {
    average: meansByShots(scores.filter(hasImages)),
    textAverage: meansByShots(scores.filter((each) => !hasImages(each))),
  };
}

function meansByShots(scores: readonly TaskScore[]): Readonly<Record<string, number>> {
  const shots = [...new Set(scores.map((each) => each.shots))];
  return Object.fromEntries(
    shots.map((each) => {
      const those = scores.filter((score) => score.shots === each);
      return [each, those.reduce((sum, { score }) => sum + score, 0) / those.length];
    }),
  );
}

/** Scores as their message. */
export function taskScoresToProto({ scores, seconds }: TaskScores): TaskScoresMessage {
  return {
    seconds,
    scores: scores.map(({ second, ...score }) => ({
      ...score,
      secondName: second?.name ?? '',
      secondValue: second?.value ?? 0,
    })),
  };
}

/** The scores in a message. */
export function taskScoresFromProto({ scores, seconds }: TaskScoresMessage): TaskScores {
  return {
    seconds,
    scores: scores.map(({ secondName, secondValue, kind, ...score }) => ({
      ...score,
      kind: SCORED_KINDS.find((each) => each === kind) ?? 'question',
      second:
        secondName === 'accuracyPerByte' || secondName === 'perplexity'
          ? { name: secondName, value: secondValue }
          : null,
    })),
  };
}
