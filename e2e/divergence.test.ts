import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, jsonLines, withSettings } from './weft.js';

let home: Home;
beforeAll(async () => {
  home = await Home.make();
});
afterAll(() => home.remove());

describe('a run that diverges', () => {
  it('goes back without the data of the spike, as often as may help, with an exact ledger; diagnose names the cause', async () => {
    // A rate at which the second step is a spike, whatever its data.
    const settings = {
      ...{ steps: 40, workers: 1, 'engine.backend': 'javascript', 'optimizer.learningRate': 9 },
      ...{ 'optimizer.weightDecay': 0, 'optimizer.warmupSteps': 0 },
      ...{ 'divergence.policy': 'rollback', 'divergence.patienceSteps': 1 },
    };
    const launched = await home.weft('launch', 'debugNano', '--local', '1', ...withSettings(settings), '--json');
    expect(launched.code, launched.stderr).not.toBe(0);
    expect(launched.stderr).toContain('the run has diverged since step 2, after it went back 3 times');
    const runId: string = jsonLines(launched.stdout).find(({ type }) => type === 'launched').runId;
    const check = await home.weft('data', 'ledger', runId, '--check', '--json');
    expect(jsonLines(check.stdout)[0]).toMatchObject({ steps: 2, sequences: 8, skipped: 12, problems: [] });
    const diagnosis = await home.weft('diagnose', runId, '--step', '2', '--json');
    expect(diagnosis.code, diagnosis.stderr).toBe(0);
    const [{ verdict, steps, sequences }] = jsonLines(diagnosis.stdout);
    expect(verdict).toBe('data');
    for (const { recorded, replayed } of steps) expect(replayed).toEqual(recorded);
    expect(sequences).toHaveLength(4);
  });
});
