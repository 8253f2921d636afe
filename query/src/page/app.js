'use strict';
// The two pages: what is asked, when, and how answers are shown. What is asked stands in the address, under the names
// that Prometheus and Thanos use, so that links of alerts lead here and pages can be shared.

const $ = (id) => document.getElementById(id);
const RANGES = [60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800, 1209600, 2419200, 4838400, 14515200,
  31536000, 63072000];
const MOST_ROWS = 500;
const MIN_TIME = -62135596800000;
const MAX_TIME = 253402300799000;

// ---- colours

const THEMES = ['system', 'light', 'dark'];
const systemDark = matchMedia('(prefers-color-scheme: dark)');

function stored(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function store(name, value) {
  try { localStorage.setItem(name, value); } catch { /* a browser that keeps nothing */ }
}

let theme = THEMES.includes(stored('sabre-theme')) ? stored('sabre-theme') : 'system';
let chart = null;

function applyTheme() {
  const dark = theme === 'dark' || (theme === 'system' && systemDark.matches);
  document.documentElement.dataset.dark = dark ? 'yes' : 'no';
  const shown = { system: ['◐ Auto', 'as the system'], light: ['☀ Light', 'light'], dark: ['☾ Dark', 'dark'] }[theme];
  $('theme').textContent = shown[0];
  $('theme').setAttribute('aria-label', `Colours: ${shown[1]}. Change`);
  if (chart) chart.restyle();
}

$('theme').addEventListener('click', () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  store('sabre-theme', theme);
  applyTheme();
});
systemDark.addEventListener('change', applyTheme);
applyTheme();

// ---- the page of queries

class GraphPage {
  constructor() {
    this.wrong = null;
    this.running = null;
    chart = new Chart($('chart'), $('legend'), (start, end) => this.zoom(start, end));
    this.completion = new Completion($('expr'), $('suggestions'), new Names(() => this.times()), () => this.edited());
    $('query-form').addEventListener('submit', (event) => { event.preventDefault(); this.run(); });
    $('expr').addEventListener('input', () => { this.edited(); this.completion.update(); });
    $('expr').addEventListener('keydown', (event) => {
      if (event.defaultPrevented || event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.completion.hide();
      this.run();
    });
    $('tab-graph').addEventListener('click', () => this.choose('graph'));
    $('tab-table').addEventListener('click', () => this.choose('table'));
    for (const tab of ['tab-graph', 'tab-table']) {
      $(tab).addEventListener('keydown', (event) => {
        if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
        this.choose(tab === 'tab-graph' ? 'table' : 'graph');
        $(`tab-${this.tab}`).focus();
      });
    }
    $('range-less').addEventListener('click', () => this.stepRange(-1));
    $('range-more').addEventListener('click', () => this.stepRange(1));
    $('end-back').addEventListener('click', () => this.stepEnd(-1));
    $('end-forward').addEventListener('click', () => this.stepEnd(1));
    for (const id of ['range', 'end', 'step', 'resolution', 'dedup', 'partial']) {
      $(id).addEventListener('change', () => this.run());
    }
    $('stacked').addEventListener('change', () => { chart.stacked = $('stacked').checked; chart.draw(); this.remember(false); });
    window.addEventListener('popstate', () => { this.read(); this.run(false); });
    this.read();
    this.showTab();
    if ($('expr').value.trim()) this.run(false);
    else this.welcome();
    // On a phone this would bring up the keyboard.
    if (matchMedia('(pointer: fine)').matches) $('expr').focus();
  }

  welcome() {
    $('status').textContent = 'Type an expression. Names are suggested as you type.';
  }

  // -- the address

  read() {
    const from = new URLSearchParams(location.search);
    const of = (name, otherwise) => from.get(`g0.${name}`) ?? otherwise;
    $('expr').value = of('expr', '');
    this.tab = of('tab', '0') === '1' ? 'table' : 'graph';
    $('range').value = of('range_input', '1h');
    $('end').value = of('end_input', of('moment_input', ''));
    $('step').value = of('step_input', '');
    const resolution = of('max_source_resolution', 'auto');
    $('resolution').value = [...$('resolution').options].some(({ value }) => value === resolution) ? resolution : 'auto';
    $('dedup').checked = of('deduplicate', '1') !== '0';
    $('partial').checked = of('partial_response', '1') !== '0';
    $('stacked').checked = of('stacked', '0') === '1';
    chart.stacked = $('stacked').checked;
    this.edited();
    this.showTab();
  }

  remember(push) {
    const to = new URLSearchParams();
    const put = (name, value) => to.set(`g0.${name}`, value);
    put('expr', $('expr').value);
    put('tab', this.tab === 'table' ? '1' : '0');
    put('range_input', $('range').value);
    if ($('end').value) put('end_input', $('end').value);
    if ($('step').value) put('step_input', $('step').value);
    put('max_source_resolution', $('resolution').value);
    put('deduplicate', $('dedup').checked ? '1' : '0');
    put('partial_response', $('partial').checked ? '1' : '0');
    if ($('stacked').checked) put('stacked', '1');
    const address = `${location.pathname}?${to}`;
    if (address === location.pathname + location.search) return;
    history[push ? 'pushState' : 'replaceState'](null, '', address);
  }

  // -- the editor

  edited() {
    this.wrong = null;
    this.paint();
  }

  /** Colours the text below the transparent one, and marks what is wrong. */
  paint() {
    const text = $('expr').value;
    const all = tokens(text);
    const parts = all.map(([kind, start, end], number) => {
      const part = text.slice(start, end);
      const next = all.slice(number + 1).find(([other]) => other !== 'space');
      const shown = kind === 'word' ? wordKind(part, next && text.slice(next[1], next[2])) : kind;
      const wrong = this.wrong !== null && this.wrong >= start && this.wrong < end && kind !== 'space';
      return make('span', { class: `t-${shown}${wrong ? ' t-wrong' : ''}` }, part);
    });
    if (this.wrong !== null && this.wrong >= text.length) parts.push(make('span', { class: 't-wrong' }, ' '));
    $('backdrop').replaceChildren(...parts, '\n');
    $('expr').style.height = 'auto';
    $('expr').style.height = `${$('expr').scrollHeight}px`;
  }

  /** The offset in the text of `line:column`, both from 1, the column in bytes. */
  offsetOf(line, column) {
    const lines = $('expr').value.split('\n');
    const before = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    const bytes = new TextEncoder().encode(lines[line - 1] || '').slice(0, column - 1);
    return before + new TextDecoder().decode(bytes).length;
  }

  // -- times

  endSeconds() {
    const text = $('end').value.trim();
    return text ? parseTime(text) / SECOND : Date.now() / SECOND;
  }

  times() {
    const end = this.endSeconds();
    const range = parseDuration($('range').value);
    if (isNaN(end)) return {};
    return { start: Math.floor(end - (range || 3600)), end: Math.ceil(end) };
  }

  stepRange(direction) {
    const now = parseDuration($('range').value) || 3600;
    const next = direction > 0 ? RANGES.find((range) => range > now) : [...RANGES].reverse().find((range) => range < now);
    if (!next) return;
    $('range').value = formatDuration(next);
    this.run();
  }

  stepEnd(direction) {
    const range = parseDuration($('range').value) || 3600;
    const stride = this.tab === 'graph' ? range / 2 : 300;
    const next = (this.endSeconds() || Date.now() / SECOND) + direction * stride;
    $('end').value = next >= Date.now() / SECOND ? '' : formatTime(next * SECOND);
    this.run();
  }

  zoom(start, end) {
    const length = Math.max(10, Math.round(end - start));
    $('range').value = formatDuration(length);
    $('end').value = formatTime(Math.round(end) * SECOND);
    $('step').value = '';
    this.run();
  }

  choose(tab) {
    this.tab = tab;
    this.showTab();
    if ($('expr').value.trim()) this.run();
  }

  showTab() {
    const graph = this.tab === 'graph';
    for (const tab of ['graph', 'table']) {
      $(`tab-${tab}`).setAttribute('aria-selected', String(this.tab === tab));
      $(`tab-${tab}`).tabIndex = this.tab === tab ? 0 : -1;
    }
    for (const id of ['range-field', 'step-field', 'stacked-field']) $(id).hidden = !graph;
    $('end-label').textContent = graph ? 'Until' : 'At';
    if (!graph) $('result-graph').hidden = true;
    else $('result-table').hidden = true;
  }

  // -- asking

  /** What is asked, or `null` if a field is wrong, which is marked. */
  parameters() {
    const end = this.endSeconds();
    const range = parseDuration($('range').value);
    const step = $('step').value.trim() ? parseDuration($('step').value) : null;
    const graph = this.tab === 'graph';
    const wrong = { end: isNaN(end), range: graph && !(range > 0), step: graph && step !== null && !(step > 0) };
    for (const [id, is] of Object.entries(wrong)) $(id).setAttribute('aria-invalid', String(is));
    const bad = Object.keys(wrong).find((id) => wrong[id]);
    if (bad) {
      const texts = { end: 'this is not a time', range: 'this is not a duration', step: 'this is not a duration' };
      this.fail(new ApiFailure('field', `${texts[bad]}: ${$(bad).value}`));
      return null;
    }
    const common = {
      query: $('expr').value, stats: 'all', dedup: $('dedup').checked, partial_response: $('partial').checked,
      max_source_resolution: $('resolution').value,
    };
    if (!graph) return { path: 'query', form: { ...common, time: end } };
    const wanted = step || this.autoStep(range);
    // On whole steps the same graph comes out whenever it is asked for.
    const last = Math.floor(end / wanted) * wanted;
    const first = Math.floor((end - range) / wanted) * wanted;
    return { path: 'query_range', form: { ...common, start: first, end: last, step: wanted } };
  }

  /** A point for every few pixels, on round steps. */
  autoStep(range) {
    const points = Math.min(400, Math.max(100, Math.round($('graph-page').clientWidth / 4)));
    const least = range / points;
    return TIME_STEPS.find((step) => step >= least) || Math.ceil(least);
  }

  async run(push = true) {
    if (this.running) this.running.abort();
    this.running = null;
    this.remember(push);
    $('messages').replaceChildren();
    if (!$('expr').value.trim()) {
      this.clear();
      this.welcome();
      return;
    }
    const asked = this.parameters();
    if (!asked) return;
    const running = new AbortController();
    this.running = running;
    this.wrong = null;
    this.paint();
    $('status').classList.add('busy');
    $('status').textContent = 'Running…';
    const begun = performance.now();
    try {
      const answer = await ask(asked.path, asked.form, running.signal);
      if (this.running !== running) return;
      this.show(asked, answer, (performance.now() - begun) / 1000);
    } catch (error) {
      if (error.name === 'AbortError' || this.running !== running) return;
      this.fail(error);
    } finally {
      if (this.running === running) {
        this.running = null;
        $('status').classList.remove('busy');
      }
    }
  }

  clear() {
    $('result-graph').hidden = true;
    $('result-table').hidden = true;
    $('cost').hidden = true;
    $('status').textContent = '';
    $('status').classList.remove('busy');
  }

  fail(error) {
    this.clear();
    if (!(error instanceof ApiFailure)) console.error(error);
    const names = { bad_data: 'Cannot be read', execution: 'Cannot be evaluated', timeout: 'Took too long', canceled: 'Cancelled',
      internal: 'Something failed', network: 'No answer', field: 'Cannot be asked' };
    const place = /^(\d+):(\d+): parse error: /.exec(error.message);
    const notice = make('div', { class: 'notice bad', role: 'alert' }, make('b', {}, names[error.kind] || 'Error'), error.message);
    if (place) {
      this.wrong = this.offsetOf(Number(place[1]), Number(place[2]));
      this.paint();
      notice.append(make('button', { type: 'button', class: 'quiet', onclick: () => {
        $('expr').focus();
        $('expr').setSelectionRange(this.wrong, this.wrong);
      } }, 'Go there'));
    }
    $('messages').replaceChildren(notice);
  }

  show(asked, answer, took) {
    const { resultType, result, stats } = answer.data;
    this.showWarnings(answer.warnings || []);
    const size = resultType === 'scalar' || resultType === 'string' ? 1 : result.length;
    const points = (result || []).reduce?.((sum, one) => sum + (one.values?.length || 0) + (one.histograms?.length || 0), 0);
    const parts = [count(size, 'series', 'series'), formatSeconds(took)];
    if (asked.path === 'query_range') parts.splice(1, 0, count(points, 'point', 'points'), `step ${formatDuration(asked.form.step)}`);
    $('status').textContent = parts.join(' · ');
    this.showCost(stats, took);
    if (asked.path === 'query_range') this.showGraph(asked.form, result);
    else this.showTable(resultType, result);
  }

  showWarnings(warnings) {
    const shown = warnings.map((text) => {
      const info = text.startsWith('PromQL info: ');
      const plain = text.replace(/^PromQL (info|warning): /, '');
      return make('div', { class: `notice ${info ? 'info' : 'warn'}` }, make('b', {}, info ? 'Note' : 'Warning'), plain);
    });
    $('messages').replaceChildren(...shown);
  }

  showGraph({ start, end, step }, result) {
    $('result-table').hidden = true;
    $('result-graph').hidden = false;
    if (!result.length) {
      $('messages').append(make('div', { class: 'notice info' }, 'No series in this range.'));
      $('result-graph').hidden = true;
      return;
    }
    if (result.length > MOST_LINES) {
      const text = `Of ${count(result.length, 'series', 'series')} the first ${MOST_LINES.toLocaleString('en')} are drawn.`;
      $('messages').append(make('div', { class: 'notice info' }, text));
    }
    if (result.some((series) => !series.values && series.histograms)) {
      const text = 'Of histograms the count is drawn; histogram_quantile() and others take them apart.';
      $('messages').append(make('div', { class: 'notice info' }, text));
    }
    chart.set(linesOf(result, start, end, step), start, end, step);
    $('chart').setAttribute('aria-label', `Graph of ${count(result.length, 'series', 'series')}; arrow keys read its values`);
  }

  showTable(type, result) {
    $('result-graph').hidden = true;
    const panel = $('result-table');
    panel.hidden = false;
    if (type === 'scalar' || type === 'string') {
      panel.replaceChildren(table(['Type', 'Value'], [[type, make('span', { class: 'mono' }, result[1])]]));
      return;
    }
    if (!result.length) {
      panel.replaceChildren(make('div', { class: 'notice info' }, 'No series at this time.'));
      return;
    }
    const rows = (most) => result.slice(0, most).map((series) => [seriesElement(series.metric), valueElement(series)]);
    const fill = (most) => {
      const more = result.length - most;
      panel.replaceChildren(table(['Series', 'Value'], rows(most), [null, 'number']), more > 0
        ? make('p', {}, make('button', { type: 'button', onclick: () => fill(most * 10) }, `Show more of ${result.length.toLocaleString('en')}`))
        : '');
    };
    fill(MOST_ROWS);
  }

  /** What the query cost: Sabre's own account where there is one. */
  showCost(stats, took) {
    const own = stats && stats.sabre;
    $('cost').hidden = !own;
    if (!own) return;
    const endpoints = own.endpoints || [];
    const [summary] = $('cost').getElementsByTagName('summary');
    summary.textContent = `What it cost: ${count(own.samples, 'sample', 'samples')} of ${count(own.series, 'series', 'series')}, `
      + `${formatBytes(own.chunkBytes)} of chunks, ${formatBytes(own.peakBytes)} of memory, `
      + `${count(endpoints.length, 'endpoint', 'endpoints')}, ${formatSeconds(own.evaluationTime)} on the server`;
    const times = [['Waiting for its turn', own.queueTime], ['Evaluation', own.evaluationTime],
      ['of that waiting for stores', own.fanOutTime], ['Decoding, all threads', own.decodeTime], ['Until it was here', took]];
    const of = (endpoint) => [endpoint.address, endpoint.requests, endpoint.series.toLocaleString('en'),
      endpoint.chunks.toLocaleString('en'), endpoint.samples.toLocaleString('en'), formatBytes(endpoint.bytes),
      formatSeconds(endpoint.time)];
    const numbers = [null, 'number', 'number', 'number', 'number', 'number', 'number'];
    $('cost-body').replaceChildren(
      table(['Time', ''], times.map(([name, seconds]) => [name, formatSeconds(seconds)]), [null, 'number'], ''),
      endpoints.length ? make('h2', {}, 'Endpoints') : '',
      endpoints.length ? table(['Address', 'Calls', 'Series', 'Chunks', 'Samples', 'Bytes', 'Time'], endpoints.map(of), numbers) : '');
  }
}

function table(heads, rows, classes = [], kind = 'cards') {
  const head = make('tr', {}, ...heads.map((text, at) => make('th', { scope: 'col', class: classes[at] }, text)));
  const body = rows.map((cells) => make('tr', {}, ...cells.map((cell, at) => make('td', {
    class: classes[at], 'data-name': at > 0 ? heads[at] : null,
  }, cell))));
  return make('div', { class: 'scroll' }, make('table', { class: kind }, make('thead', {}, head), make('tbody', {}, ...body)));
}

/** A value, a histogram, or the samples of a range. */
function valueElement(series) {
  if (series.value) return series.value[1];
  if (series.histogram) return histogramElement(series.histogram[1]);
  const lines = (series.values || []).map(([t, value]) => `${value} @${t}`);
  for (const [t, histogram] of series.histograms || []) lines.push(`count ${histogram.count} @${t}`);
  return make('div', {}, count(lines.length, 'sample', 'samples'), make('pre', { class: 'samples' }, lines.join('\n')));
}

function histogramElement({ count: total, sum, buckets = [] }) {
  const most = Math.max(...buckets.map((bucket) => Math.abs(parseFloat(bucket[3]))), 0) || 1;
  const brackets = ['(]', '[)', '()', '[]'];
  const rows = buckets.flatMap(([kind, low, high, size]) => {
    const [open, close] = brackets[kind] || '[]';
    const number = (text) => shortNumber(parseFloat(text.replace('Inf', 'Infinity')));
    return [make('span', {}, `${open}${number(low)}, ${number(high)}${close}`),
      make('meter', { min: 0, max: most, value: Math.abs(parseFloat(size)) }), make('span', {}, number(size))];
  });
  return make('details', {}, make('summary', {}, `count ${total}, sum ${sum}`), make('div', { class: 'buckets' }, ...rows));
}

// ---- the page of stores

class StoresPage {
  constructor() {
    this.kinds = {};
    $('stores-refresh').addEventListener('click', () => this.load());
    $('stores-filter').addEventListener('input', () => this.show());
    this.load();
    setInterval(() => { if (!document.hidden) this.load(); }, 10 * SECOND);
  }

  async load() {
    try {
      this.kinds = (await ask('stores')).data || {};
      this.show();
    } catch (error) {
      $('stores-summary').textContent = '';
      $('stores-list').replaceChildren(make('div', { class: 'notice bad', role: 'alert' }, make('b', {}, 'No answer'), error.message));
    }
  }

  show() {
    const wanted = $('stores-filter').value.trim().toLowerCase();
    const text = ({ name, labelSets }) => [name, ...(labelSets || []).map((set) => seriesName({ ...set }))].join(' ');
    const matches = (endpoint) => text(endpoint).toLowerCase().includes(wanted);
    const all = Object.values(this.kinds).flat();
    const down = all.filter((endpoint) => endpoint.lastError).length;
    $('stores-summary').textContent = all.length
      ? `${count(all.length, 'endpoint', 'endpoints')}, ${down ? `${down} of them down` : 'all of them up'}`
      : 'No endpoints. They are named by --endpoint or --endpoint.sd-config.';
    const sections = Object.entries(this.kinds).map(([kind, endpoints]) => {
      const rows = endpoints.filter(matches).map((endpoint) => this.row(endpoint));
      if (!rows.length) return '';
      return make('section', { class: 'stores' }, make('h2', {}, `${kind[0].toUpperCase()}${kind.slice(1)} (${rows.length})`),
        table(['Address', 'Health', 'Labels', 'From', 'To', 'Last asked'], rows, ['mono', null, null, 'nowrap', 'nowrap', 'nowrap']));
    });
    $('stores-list').replaceChildren(...sections);
  }

  row({ name, lastError, labelSets, minTime, maxTime, lastCheck }) {
    const badge = lastError ? make('span', { class: 'badge down' }, 'down') : make('span', { class: 'badge up' }, 'up');
    const health = make('div', {}, badge, lastError ? make('div', { class: 'error-text' }, lastError) : null);
    const sets = labelSets || [];
    const chips = (set) => make('div', { class: 'set' }, ...Object.entries(set)
      .map(([label, value]) => make('span', { class: 'chip' }, `${label}="${value}"`)));
    const few = sets.slice(0, 5).map(chips);
    const rest = sets.length > 5
      ? make('details', {}, make('summary', {}, `${sets.length - 5} more`), ...sets.slice(5).map(chips)) : null;
    return [name, health, make('div', {}, ...few, rest), boundary(minTime), boundary(maxTime), ago(lastCheck)];
  }
}

function boundary(ms) {
  if (ms <= MIN_TIME) return 'the beginning';
  if (ms >= MAX_TIME) return 'now';
  return formatTime(ms);
}

function ago(text) {
  const at = Date.parse(text);
  if (isNaN(at) || at <= 0) return 'never';
  const seconds = Math.max(0, Math.round((Date.now() - at) / SECOND));
  return seconds < 1 ? 'just now' : `${formatDuration(seconds)} ago`;
}

// ---- which page it is

const isStores = /\/stores\/?$/.test(location.pathname);
$(isStores ? 'stores-page' : 'graph-page').hidden = false;
$(isStores ? 'nav-stores' : 'nav-graph').setAttribute('aria-current', 'page');
document.title = isStores ? 'Stores · Sabre' : 'Graph · Sabre';
if (isStores) new StoresPage();
else new GraphPage();
