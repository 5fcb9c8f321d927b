import { SerialQueue } from '@weft/common';
import type { PageMember, PageTimeline } from '@weft/contracts';
import { parseRunRecord, type RunRecord, Timeline } from '@weft/coordination';
import type { Store } from '@weft/store';

/** What happened to one run, from its log. Every question first reads what was appended since the last one. */
export class RunHistory {
  readonly #store: Store;
  readonly #runId: string;
  readonly #serial = new SerialQueue();
  readonly #timeline = new Timeline();
  #members: readonly PageMember[] = [];
  #lastSequence = 0;

  constructor(store: Store, runId: string) {
    this.#store = store;
    this.#runId = runId;
  }

  async read(): Promise<PageTimeline> {
    await this.#serial.run(async () => {
      for await (const { sequence, record } of this.#store.log(this.#runId).read(this.#lastSequence + 1)) {
        this.#add(parseRunRecord(record));
        this.#lastSequence = sequence;
      }
    });
    return { entries: this.#timeline.entries, members: this.#members };
  }

  #add(record: RunRecord): void {
    this.#timeline.add(record);
    if (record.kind === 'assigned') {
      const { generation, workers, expertWorkers = [] } = record;
      const present = [...workers, ...expertWorkers];
      // Those that were lost stay in sight until others have their rank.
      const lost = this.#members.filter(
        (member) => member.lost !== null && present.every(({ workerId }) => workerId !== member.workerId),
      );
      this.#members = [
        ...workers.map((worker, rank): PageMember => ({ ...worker, role: 'rank', rank, generation, lost: null })),
        ...expertWorkers.map(
          (worker, rank): PageMember => ({ ...worker, role: 'expertWorker', rank, generation, lost: null }),
        ),
        ...lost.slice(-MOST_LOST),
      ];
    }
    if (record.kind === 'workerLost') {
      const lost = { reason: record.reason, time: record.time };
      this.#members = this.#members.map((member) =>
        member.workerId === record.workerId && member.lost === null ? { ...member, lost } : member,
      );
    }
  }
}

/** How many lost workers of earlier generations are shown. */
const MOST_LOST = 20;
