import { describe, expect, it } from 'vitest';
import { resolveRunConfig } from './resolve.js';
import { smallestRun } from './testing/smallest-run.js';

const launch = (moe: object | null, changes: object = {}) =>
  resolveRunConfig({
    ...smallestRun,
    model: { ...smallestRun.model, decoder: { ...smallestRun.model.decoder, moe } },
    ...changes,
  });
const moe = { experts: 4, everyLayers: 2 };

describe('expert workers', () => {
  it('hold between one expert and all of them', () => {
    expect(launch(moe).expertWorkers).toBe(0);
    expect(launch(moe, { expertWorkers: 4 })).toMatchObject({ expertWorkers: 4, microbatchesInFlight: 2 });
    expect(() => launch(moe, { expertWorkers: 5 })).toThrow(
      'expertWorkers is 5, but must be at most model.decoder.moe.experts (4): every expert worker holds at least one',
    );
  });

  it('are refused where there are no experts, and where nothing can wait for them', () => {
    expect(() => launch(null, { expertWorkers: 1 })).toThrow('expertWorkers is 1, but model.decoder.moe is null');
    expect(() => launch(moe, { expertWorkers: 1, engine: { backend: 'javascript' } })).toThrow(
      'expertWorkers is above 0, but engine.backend javascript cannot wait for experts in mid-layer',
    );
  });
});

describe('the mesh', () => {
  const onMesh = (mesh: unknown, changes: object = {}) => launch(null, { engine: { mesh }, ...changes });

  it('is one device unless it is named, and takes `auto`', () => {
    expect(onMesh(undefined).engine.mesh).toEqual({ fsdp: 1, tensor: 1, expert: 1 });
    expect(onMesh({ fsdp: 4 }).engine.mesh).toEqual({ fsdp: 4, tensor: 1, expert: 1 });
    expect(onMesh('auto').engine.mesh).toBe('auto');
    expect(() => onMesh({ fsdp: 0 })).toThrow('engine.mesh.fsdp is 0, but must be a whole number from 1 to 65536');
    expect(() => onMesh({ data: 2 })).toThrow('unknown field "engine.mesh.data"');
    expect(() => onMesh('all')).toThrow(
      'engine.mesh is "all", but must be auto, or sizes of at least 1 for fsdp, tensor and expert',
    );
  });

  it('must divide what it cuts', () => {
    expect(() => onMesh({ tensor: 3 })).toThrow('engine.mesh.tensor is 3, but must divide model.decoder.heads (4)');
    expect(() => onMesh({ fsdp: 3 })).toThrow(
      'microbatchSize is 8, but must be a multiple of 3, the devices that engine.mesh cuts the batch over (fsdp × expert)',
    );
    const expert = { engine: { mesh: { expert: 8 } } };
    expect(() => launch(moe, expert)).toThrow('engine.mesh.expert is 8, but must divide model.decoder.moe.experts (4)');
    expect(() => launch(null, expert)).toThrow(
      'engine.mesh.expert is 8, but model.decoder.moe is null: set it to 1, there are no experts to cut',
    );
  });

  it('is refused where the experts are elsewhere, and with an engine of one device', () => {
    expect(() => launch(moe, { expertWorkers: 1, engine: { mesh: { expert: 2 } } })).toThrow(
      'expertWorkers is 1, but a worker with engine.mesh holds the experts itself: set expertWorkers to 0',
    );
    expect(() => onMesh({ fsdp: 2 }, { engine: { backend: 'tensorflow', mesh: { fsdp: 2 } } })).toThrow(
      'engine.mesh has 2 devices, but engine.backend tensorflow computes on one: leave engine.mesh out, or set engine.backend to auto',
    );
  });
});
