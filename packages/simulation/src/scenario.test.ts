import { describe, expect, it } from 'vitest';
import { type Disaster, type Scenario, type ScenarioLine, simulateScenario } from './scenario.js';

const calm: Scenario = {
  workers: 3,
  steps: 30,
  checkpointEverySteps: 10,
  maxAttempts: 1,
  seed: 7,
  disasters: [],
  chaos: 0,
};
const at = (step: number, kind: Disaster['kind'], worker = 0): Disaster => ({ kind, step, worker });

function simulate(scenario: Scenario) {
  const lines: ScenarioLine[] = [];
  return { result: simulateScenario(scenario, (line) => lines.push(line)), lines };
}

describe('a scenario', () => {
  it('without disasters is one generation and loses nothing', () => {
    expect(simulate(calm).result).toMatchObject({
      status: 'finished',
      step: 30,
      generations: 1,
      workersLost: 0,
      stepsLost: 0,
      checkpointsWritten: 3,
    });
  });

  it('goes the same way with the same seed, and another way with another', () => {
    const chaos = { ...calm, chaos: 0.1, maxAttempts: 10 };
    expect(simulate(chaos)).toEqual(simulate(chaos));
    expect(simulate({ ...chaos, seed: 8 }).lines).not.toEqual(simulate(chaos).lines);
  });

  it('in which a worker is lost for good and then the coordinator ends on those that are left', () => {
    const { result, lines } = simulate({ ...calm, disasters: [at(12, 'kill', 1), at(20, 'restart')] });
    expect(result).toMatchObject({ status: 'finished', generations: 3, workersLost: 1, stepsLost: 10 });
    expect(lines.map(({ text }) => text)).toContain(
      'run run-0: it resumes from the checkpoint of step 10; run run-0 begins generation 3 at step 11 on 2 of 3 workers',
    );
  });

  it('in which every checkpoint is damaged ends with a run that has failed and says why', () => {
    const disasters = [at(25, 'damage'), at(25, 'damage'), at(25, 'restart')];
    const { result } = simulate({ ...calm, disasters });
    expect(result).toMatchObject({ status: 'failed', step: 25 });
    expect(result.reason).toContain('none of them can be used');
  });

  it('in which workers come back after all were lost goes on from the newest checkpoint', () => {
    const killAll = [at(15, 'kill'), at(15, 'kill'), at(15, 'kill')];
    const { result } = simulate({ ...calm, disasters: [...killAll, at(15, 'add'), at(15, 'add'), at(15, 'add')] });
    expect(result).toMatchObject({ status: 'finished', workersLost: 3 });
  });
});
