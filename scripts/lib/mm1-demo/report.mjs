// The report of `npm run mm1-demo`: one page with everything in it.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const COLORS = ['#1f5fbf', '#c2410c', '#15803d'];
/** @type {Readonly<Record<string, string>>} */
const TASK_NAMES = { kinds: 'the right pictures', shuffled: 'other pictures', blank: 'a grey picture' };
/** @type {Readonly<Record<string, string>>} */
const RUN_NAMES = { encoder: 'image encoder (CLIP)', model: 'multimodal model', tuned: 'fine-tuning' };

/** @typedef {Record<string, any>} Line */

/**
 * Writes `report.html`.
 *
 * @param {{ home: string; folder: string; runs: Record<string, string>; scores: { model: Line[]; tuned: Line[] } }} demo
 * @returns {Promise<string>} what was written, for the line of the stage
 */
export async function writeReport({ home, folder, runs, scores }) {
  const plots = await import('../../../packages/scaling/dist/index.js');
  const sweep = readJson(join(folder, 'sweep.json'));
  const sections = [
    section(
      'What was trained',
      runTable(home, runs),
      ...Object.keys(RUN_NAMES).map((name) => lossCurve(plots, home, name, runs[name] ?? '')),
    ),
    section('The learning rate by size', sweepTable(sweep), sweepFigure(sweep)),
    section(
      'Scores on pictures it has never seen',
      `<p>A question is a picture and “Kind:”; the answer is one of nine English words. In training a page or conversation keeps to
      one of three languages, and English is the rarest, so solved questions before the one that is asked tell which language is
      meant. A model that does not look at pictures gets at most ${(100 / 9).toFixed(1)} %.</p>`,
      scoreTable(scores),
      scoreBars(plots, scores.tuned),
    ),
    section('Three pictures', pictures(home, folder)),
  ];
  const page = html(sections);
  writeFileSync(join(folder, 'report.html'), page);
  return `${join(folder, 'report.html')}, ${(page.length / 1e3).toFixed(0)} kB`;
}

/** @param {string} home @param {Record<string, string>} runs */
function runTable(home, runs) {
  const rows = Object.entries(RUN_NAMES).map(([name, title]) => {
    const rows = metricsOf(home, runs[name] ?? '');
    const [first, last] = [rows[0], rows.at(-1)];
    const seconds = first && last ? (Date.parse(last.time) - Date.parse(first.time)) / 1000 : 0;
    return [
      title,
      code(runs[name] ?? '–'),
      `${last?.step ?? '–'}`,
      last?.loss?.toFixed(3) ?? '–',
      `${seconds.toFixed(0)} s`,
    ];
  });
  return table(['', 'run', 'steps', 'last loss', 'first to last step'], rows);
}

/** @param {any} plots @param {string} home @param {string} name @param {string} run */
function lossCurve(plots, home, name, run) {
  const points = metricsOf(home, run).flatMap(({ step, loss }) => (loss === null ? [] : [[step, loss]]));
  if (points.length < 2) return '';
  const title = `Loss: ${RUN_NAMES[name]}`;
  return figure(
    plots.linePlot({
      ...{ title, subtitle: '', xTitle: 'step', yTitle: 'loss', yScale: 'linear' },
      groups: [{ name: 'training loss', color: COLORS[0], lines: [points] }],
    }),
  );
}

/** @param {Line | undefined} sweep */
function sweepTable(sweep) {
  if (sweep === undefined) return '<p>The sweep has no result.</p>';
  /** @type {Line[]} */
  const runs = sweep.runs;
  const rates = [...new Set(runs.map(({ learningRate }) => learningRate))].toSorted((a, b) => a - b);
  const scales = [...new Set(runs.map(({ scale }) => scale))];
  const rows = scales.map((scale) => {
    const own = runs.filter((run) => run.scale === scale);
    const best = Math.min(...own.flatMap(({ score }) => score ?? []));
    const cells = rates.map((rate) => {
      const score = own.find(({ learningRate }) => learningRate === rate)?.score ?? null;
      return score === null ? 'given up' : score === best ? `<b>${score.toFixed(3)}</b>` : score.toFixed(3);
    });
    return [scale, Number(own[0]?.params).toLocaleString('en-US'), ...cells];
  });
  return table(['size', 'N', ...rates.map((rate) => `η ${rate}`)], rows);
}

/** The picture of the law; where the runs determine none, a sentence. @param {Line | undefined} sweep */
function sweepFigure(sweep) {
  const file = join(sweep?.directory ?? '', 'fit.svg');
  if (sweep?.law && existsSync(file)) return figure(readFileSync(file, 'utf8'));
  return '<p>These runs determine no law: a best rate lies at the edge of the grid. More rates would.</p>';
}

/** @param {{ model: Line[]; tuned: Line[] }} scores */
function scoreTable({ model, tuned }) {
  const shots = [...new Set(tuned.map((score) => score.shots))].toSorted((a, b) => a - b);
  const rows = [
    ['multimodal model', model],
    ['after fine-tuning', tuned],
  ].flatMap(([title, scores]) =>
    Object.entries(TASK_NAMES).map(([task, words]) => [
      `${title}`,
      words,
      ...shots.map((each) => {
        const score = /** @type {Line[]} */ (scores).find((one) => one.task === task && one.shots === each)?.score;
        return score === undefined ? '–' : `${score.toFixed(1)} %`;
      }),
    ]),
  );
  return table(['model', 'asked about', ...shots.map((each) => `${each}-shot`)], rows);
}

/** @param {any} plots @param {Line[]} scores */
function scoreBars(plots, scores) {
  const shots = [...new Set(scores.map((score) => score.shots))].toSorted((a, b) => a - b);
  if (shots.length === 0) return '';
  const series = shots.map((each, i) => ({
    name: `${each}-shot`,
    color: COLORS[i % COLORS.length],
    values: Object.keys(TASK_NAMES).map(
      (task) => scores.find((score) => score.task === task && score.shots === each)?.score ?? null,
    ),
  }));
  const rows = Object.values(TASK_NAMES);
  return figure(
    plots.barPlot({
      title: 'After fine-tuning',
      subtitle: 'accuracy by pictures and shots',
      xTitle: '%',
      rows,
      series,
    }),
  );
}

/** @param {string} home @param {string} folder */
function pictures(home, folder) {
  const captions = linesOf(join(folder, 'captions.jsonl'));
  const kinds = readJson(join(home, 'data/mm1-demo/kinds.json')) ?? {};
  const cards = captions.map(({ id, text }) => {
    const picture = readFileSync(join(home, 'data/mm1-demo/held-out', `${id}.png`)).toString('base64');
    const answers = [0, 8].map((shots) => {
      const answer = linesOf(join(folder, 'scores-tuned/examples', `kinds-${shots}-shot.jsonl`)).find(
        (each) => each.id === id,
      );
      return `<dt>${shots} shots</dt><dd>${escaped(answer?.output ?? '–')}</dd>`;
    });
    const right = Object.values(kinds).find(({ imageId }) => imageId === id)?.answer;
    return `<article><img alt="" src="data:image/png;base64,${picture}"><dl>
      <dt>it writes</dt><dd>${escaped(text ?? '–')}</dd>${answers.join('')}<dt>right</dt><dd>${escaped(right ?? '–')}</dd></dl></article>`;
  });
  return `<div class="cards">${cards.join('')}</div>
    <p>The first line is what the multimodal model writes behind the picture; the answers are those of the fine-tuned one.</p>`;
}

/** @param {string} home @param {string} run @returns {Line[]} */
const metricsOf = (home, run) => (run === '' ? [] : linesOf(join(home, 'runs', run, 'metrics.jsonl')));

/** @param {string} file @returns {Line[]} */
function linesOf(file) {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => (line.endsWith('}') ? [JSON.parse(line)] : []));
}

/** @param {string} file @returns {Line | undefined} */
const readJson = (file) => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined);

/** @param {string} title @param {readonly string[]} parts */
const section = (title, ...parts) => `<section><h2>${title}</h2>${parts.join('\n')}</section>`;
const figure = (/** @type {string} */ svg) => `<figure>${svg}</figure>`;
const code = (/** @type {string} */ text) => `<code>${escaped(text)}</code>`;
const escaped = (/** @type {string} */ text) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** @param {readonly string[]} titles @param {readonly (readonly string[])[]} rows */
function table(titles, rows) {
  const line = (/** @type {readonly string[]} */ cells, tag = 'td') =>
    `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`;
  return `<table><thead>${line(titles, 'th')}</thead><tbody>${rows.map((row) => line(row)).join('')}</tbody></table>`;
}

/** @param {readonly string[]} sections */
function html(sections) {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>MM1 in small</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; color: #15243b; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
  table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: 1rem 0; }
  th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #e3e7ee; } th { font-weight: 600; }
  td:nth-child(n+3) { font-variant-numeric: tabular-nums; }
  figure { margin: 1rem 0; border: 1px solid #e3e7ee; border-radius: 6px; padding: .5rem; } svg { width: 100%; height: auto; }
  .cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: 1rem; }
  article { border: 1px solid #e3e7ee; border-radius: 6px; padding: 1rem; } article img { width: 64px; height: 64px; }
  dl { margin: .5rem 0 0; } dt { font-size: .8rem; color: #5b6676; } dd { margin: 0 0 .4rem; } code { font-size: .85em; }
</style></head><body>
<h1>MM1 in small</h1><p>Made by <code>npm run mm1-demo</code>: an image encoder, a multimodal model from it, a sweep of learning rates, fine-tuning,
and questions with 0, 4 and 8 solved ones before them.</p>
${sections.join('\n')}
</body></html>
`;
}
