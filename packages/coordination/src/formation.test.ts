import { describe, expect, it } from 'vitest';
import { RUN, Scene } from './testing/scene.js';

describe('forming the first ring', () => {
  it('waits until enough workers are idle, and says for how many', () => {
    const scene = new Scene();
    scene.launch({ workers: 3 });
    expect(scene.view()).toMatchObject({ status: 'queued', worldSize: 0 });
    expect(scene.view().reason).toBe(
      'it was launched; it waits for 3 more workers: it needs 3, 0 attend and 0 of them are idle',
    );
    scene.attend('a', 'b');
    expect(scene.view().reason).toContain('waits for 1 more worker: it needs 3, 2 attend and 2 of them are idle');
    expect(scene.commandsOf('assign')).toEqual([]);
    scene.attend('c');
    expect(scene.view()).toMatchObject({ status: 'running', worldSize: 3, generation: 1 });
    expect(scene.view().reason).toBe('it trains step 1 of 6 on 3 workers');
  });

  it('tells every member its ring, its first step and to begin afresh', () => {
    const scene = new Scene();
    scene.attend('a', 'b');
    scene.launch();
    const [assign] = scene.commandsOf('assign');
    expect(assign).toMatchObject({ runId: RUN, generation: 1, firstStep: 1, state: { kind: 'fresh' } });
    expect(assign?.ring).toEqual([
      { workerId: 'a', address: 'a:1' },
      { workerId: 'b', address: 'b:1' },
    ]);
    expect(scene.log.map(({ kind }) => kind)).toEqual(['launched', 'assigned']);
  });

  it('puts the workers of one host side by side, those that came earlier first', () => {
    const scene = new Scene();
    scene.attend('west/1', 'east/1', 'west/2', 'east/2', 'north/1');
    scene.launch({ workers: 4 });
    expect(scene.members).toEqual(['east/1', 'east/2', 'west/1', 'west/2']);
  });

  it('starts queued runs in the order of launch, and lets a smaller one pass one that cannot start', () => {
    const scene = new Scene();
    scene.launch({ workers: 3 }, 'big');
    scene.launch({ workers: 1 }, 'small');
    scene.launch({ workers: 1 }, 'last');
    scene.attend('a');
    expect(scene.view('small').status).toBe('running');
    expect(scene.view('big').reason).toContain('it needs 3, 1 attend and 0 of them are idle');
    scene.attend('b');
    expect(scene.view('last').status).toBe('running');
    expect(scene.view('big').status).toBe('queued');
  });

  it('lets an idle worker wait while a run at work lacks one', () => {
    const scene = new Scene();
    scene.attend('a', 'b');
    scene.launch();
    scene.train(1);
    scene.leave('b');
    scene.pass(500, 'a');
    scene.attend('c');
    scene.train(1);
    expect(scene.members).toEqual(['a']);
    expect(scene.view().reason).toBe('it trains step 3 of 6 on 1 of 2 workers');
  });

  it('fills the gap with an idle worker where nobody has trained yet', () => {
    const scene = new Scene();
    scene.attend('a', 'b', 'c');
    scene.launch();
    scene.leave('a');
    scene.pass(500, 'b', 'c');
    expect(scene.members).toEqual(['b', 'c']);
    expect(scene.lastCommand('assign')?.state).toEqual({ kind: 'fresh' });
  });
});
