/** What must hold in every simulation, by name. */
export const INVARIANTS = {
  sequences: 'every sequence is consumed once, in order',
  leader: 'only the coordinator that holds the lease writes',
  quorum: 'a step is committed when every member of its generation has voted for it, and not before',
  model: 'all members of a generation hold the same model, that of an undisturbed run',
  replay: 'the log alone gives the state',
  queue: 'a run has workers exactly while its job is active, and nobody waits for idle workers',
  failure: 'no run fails for a reason that lies in the coordinator',
  progress: 'a run that can go on does',
  blame: 'no worker is given up that was well',
} as const;

export type Invariant = keyof typeof INVARIANTS;

/** An invariant does not hold: `decide`, or the simulation of what surrounds it, has a bug. */
export class Violation extends Error {
  readonly invariant: Invariant;

  constructor(invariant: Invariant, what: string) {
    super(`${what}, but ${INVARIANTS[invariant]}`);
    this.name = 'Violation';
    this.invariant = invariant;
  }
}
