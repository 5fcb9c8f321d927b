import type { Random } from '@weft/common';
import type {
  ClusterEvent,
  Command,
  Decision,
  FoundCheckpoint,
  RunRecord,
  ToldProgress,
  WorkerIdentity,
} from '@weft/coordination';
import type { SimulatedRing } from './simulated-ring.js';
import type { SimulatedStore } from './simulated-store.js';
import type { Assignment } from './simulated-worker.js';
import type { VirtualTime } from './virtual-time.js';

/** A worker's process, as others see it. */
export interface WorkerEnd {
  readonly identity: WorkerIdentity;
  readonly workerId: string;
  readonly ring: SimulatedRing | undefined;
  /** Whether it, or the network before it, stands still, or did a moment ago. */
  readonly isTouched: boolean;
  /** When its last message came, as of now. */
  lastMessageMs(): number;
  /** A message of the coordinator is on its way. */
  down(stream: Stream, command: Command): void;
  /** The coordinator has closed the stream, or its process is gone. */
  closed(stream: Stream, delayMs: number): void;
}

/** A coordinator's process, as workers see it. */
export interface CoordinatorEnd {
  /** It is there and takes connections. */
  readonly answers: boolean;
  /** A worker's hello has arrived. */
  welcome(stream: Stream, hello: ClusterEvent): void;
  /** A worker's message has arrived. */
  receive(stream: Stream, event: ClusterEvent): void;
  /** A worker has answered where it is, which decides nothing by itself. */
  told(stream: Stream, progress: ToldProgress): void;
  /** A stream has ended. */
  lost(stream: Stream, reason: string): void;
}

/** One connection between a worker and a coordinator. Messages of each direction arrive in order. */
export interface Stream {
  readonly process: WorkerEnd;
  readonly coordinator: CoordinatorEnd;
  isOpen: boolean;
  lastUpMs: number;
  lastDownMs: number;
}

/** What the processes of a simulation have around them. */
export interface Surroundings {
  readonly time: VirtualTime;
  /** Of everything that is not a fault: delays and durations. */
  readonly random: Random;
  readonly store: SimulatedStore;
  /** The coordinator that holds the lease. */
  readonly active: CoordinatorEnd | undefined;
  /** The workers of which nothing arrives. */
  readonly silent: Set<string>;
  /** Of a message between two processes. */
  delayMs(): number;
  count(direction: 'up' | 'down', kind: string): void;

  /** A worker's process has ended. */
  forget(process: WorkerEnd): void;
  /** Whether a worker can connect to the data plane of another. */
  reaches(process: WorkerEnd, address: string): boolean;
  /** Data-plane addresses of its neighbours that a member of a ring cannot reach. */
  unreachableFrom(process: WorkerEnd): readonly string[];
  /** The ring of a generation, which a member joins. */
  ringOf(assignment: Assignment): SimulatedRing;
  /** A member has joined: once all that hold the model have, the newcomers get it. */
  transferred(assignment: Assignment, ring: SimulatedRing): void;
  /** A connection of a ring fails. */
  breakRing(ring: SimulatedRing): void;

  coordinatorDied(coordinator: CoordinatorEnd): void;
  /** A record is to be written. @throws Violation, or LeaseLost */
  appended(token: number, runId: string, record: RunRecord): void;
  decided(decision: Decision): void;
  newestCheckpoint(runId: string, notAfterStep: number): FoundCheckpoint;
  setAside(runId: string, afterStep: number): void;
}
