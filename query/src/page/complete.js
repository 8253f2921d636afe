'use strict';
// What may stand at the cursor: functions, metrics, labels and their values.

const FUNCTIONS = ('abs absent absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp '
  + 'clamp_max clamp_min cos cosh count_over_time day_of_month day_of_week day_of_year days_in_month deg delta deriv exp '
  + 'floor histogram_avg histogram_count histogram_fraction histogram_quantile histogram_stddev histogram_stdvar '
  + 'histogram_sum hour idelta increase irate label_join label_replace last_over_time ln log10 log2 max_over_time '
  + 'min_over_time minute month pi predict_linear present_over_time quantile_over_time rad rate resets round scalar sgn '
  + 'sin sinh sort sort_desc sqrt stddev_over_time stdvar_over_time sum_over_time tan tanh time timestamp vector '
  + 'year').split(' ');
const AGGREGATIONS = 'sum avg count min max stddev stdvar topk bottomk count_values quantile group'.split(' ');
const KEYWORDS = 'by without on ignoring group_left group_right offset bool and or unless atan2 start end'.split(' ');
const GROUPERS = ['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'];
const MOST_SUGGESTIONS = 50;
const MOST_VALUES = 10000;

/** Takes a query apart: `[kind, start, end]` for each token. What is no token is `other`. */
function tokens(text) {
  const pattern = /(#[^\n]*)|("(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|`[^`]*`?)|((?:\d+(?:ms|[smhdwy]))+|0x[\da-f]+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)|([a-zA-Z_:][\w:]*)|(=~|!~|!=|==|>=|<=|[-+*\/%^=<>@])|([{}()[\],])|(\s+)|(.)/giu;
  const kinds = ['comment', 'string', 'number', 'word', 'operator', 'bracket', 'space', 'other'];
  const found = [];
  for (const match of text.matchAll(pattern)) {
    const kind = kinds[match.slice(1).findIndex((part) => part !== undefined)];
    found.push([kind, match.index, match.index + match[0].length]);
  }
  return found;
}

/** What kind of word it is, for its colour. */
function wordKind(word, next) {
  const lower = word.toLowerCase();
  if (AGGREGATIONS.includes(lower)) return 'function';
  if (next === '(' && !GROUPERS.includes(lower)) return 'function';
  return KEYWORDS.includes(lower) ? 'keyword' : 'word';
}

/**
 * What is being written at `cursor`: `{kind, from, to, typed, label, metric}`. `kind` is `expression`, `label`, `value`,
 * or `none` where nothing can be suggested.
 */
function situation(text, cursor) {
  const all = tokens(text);
  const before = all.filter(([, start]) => start < cursor);
  const current = before[before.length - 1];
  let open = [];
  let label = null;
  let metric = '';
  for (const token of before) {
    const [kind, start, end] = token;
    const part = text.slice(start, end);
    if (kind === 'bracket') {
      if ('{(['.includes(part)) open.push({ bracket: part, after: previousWord(text, all, start) });
      else if (part !== ',') open.pop();
      label = null;
    } else if (kind === 'word' && end < cursor) {
      label = part;
      if (!open.length || open[open.length - 1].bracket !== '{') metric = part;
    }
  }
  const inside = open[open.length - 1];
  const nothing = { kind: 'none' };
  if (!current) return { kind: 'expression', from: cursor, to: cursor, typed: '' };
  const [kind, start, end] = current;
  const typed = text.slice(start, cursor);
  if (kind === 'comment' || (kind === 'number' && end >= cursor)) return nothing;
  if (kind === 'string' && (end > cursor || !closed(text.slice(start, end)) || end === cursor && !closed(typed))) {
    if (!inside || inside.bracket !== '{' || !label) return nothing;
    const to = closed(text.slice(start, end)) ? end - 1 : end;
    return { kind: 'value', from: start + 1, to, typed: typed.slice(1), label, metric: inside.after, quote: typed[0] };
  }
  const isWord = kind === 'word' && end >= cursor;
  const place = isWord ? { from: start, to: end, typed } : { from: cursor, to: cursor, typed: '' };
  if (inside && inside.bracket === '{') {
    const last = before.filter(([name]) => name !== 'space').slice(isWord ? -2 : -1)[0];
    const mark = last ? text.slice(last[1], last[2]) : '';
    return mark === '{' || mark === ',' ? { kind: 'label', ...place, metric: inside.after } : nothing;
  }
  if (inside && inside.bracket === '(' && GROUPERS.includes(inside.after.toLowerCase())) {
    return { kind: 'label', ...place, metric: '' };
  }
  if (inside && inside.bracket === '[') return nothing;
  return { kind: 'expression', ...place };
}

function previousWord(text, all, start) {
  const before = all.filter(([kind, , end]) => end <= start && kind !== 'space').pop();
  return before && before[0] === 'word' ? text.slice(before[1], before[2]) : '';
}

function closed(text) {
  return text.length > 1 && text[text.length - 1] === text[0] && !/[^\\]\\(\\\\)*.$/.test(text);
}

/** Names of the server, each asked for once a minute at most. */
class Names {
  constructor(range) {
    this.range = range;
    this.known = new Map();
  }

  async get(path, parameters) {
    const key = path + JSON.stringify(parameters);
    const known = this.known.get(key);
    if (known && Date.now() - known.at < 60 * SECOND) return known.names;
    const names = ask(path, { ...parameters, ...this.range(), limit: MOST_VALUES })
      .then((answer) => answer.data || []).catch(() => []);
    if (this.known.size > 200) this.known.clear();
    this.known.set(key, { at: Date.now(), names });
    return names;
  }

  metrics() {
    return this.get('label/__name__/values', {});
  }

  labels(metric) {
    return this.get('labels', metric ? { 'match[]': `{__name__=${JSON.stringify(metric)}}` } : {});
  }

  values(label, metric) {
    const match = metric ? { 'match[]': `{__name__=${JSON.stringify(metric)}}` } : {};
    return this.get(`label/${encodeURIComponent(label)}/values`, match);
  }
}

/** Those that begin with what was typed, then those that contain it. */
function matching(candidates, typed) {
  const lower = typed.toLowerCase();
  const begins = [];
  const contains = [];
  for (const candidate of candidates) {
    const text = candidate.text.toLowerCase();
    if (text === lower && typed) continue;
    if (text.startsWith(lower)) begins.push(candidate);
    else if (lower.length > 1 && text.includes(lower)) contains.push(candidate);
    if (begins.length >= MOST_SUGGESTIONS) break;
  }
  return begins.concat(contains).slice(0, MOST_SUGGESTIONS);
}

/** What may stand there: `[{text, kind, insert}]`. */
async function candidates(names, at) {
  const as = (kind) => (text) => ({ text, kind, insert: text });
  if (at.kind === 'label') {
    const labels = (await names.labels(at.metric)).filter((label) => label !== '__name__');
    return labels.map((text) => ({ text, kind: 'label', insert: quoteName(text) }));
  }
  if (at.kind === 'value') {
    const values = await names.values(at.label, at.metric);
    return values.map((text) => ({ text, kind: 'value', insert: JSON.stringify(text).slice(1, -1) }));
  }
  if (at.kind !== 'expression' || !at.typed) return [];
  const calls = FUNCTIONS.map((text) => ({ text, kind: 'function', insert: text + '(' }));
  const sums = AGGREGATIONS.map((text) => ({ text, kind: 'aggregation', insert: text + '(' }));
  const metrics = (await names.metrics()).map((text) => {
    const plain = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(text);
    return { text, kind: 'metric', insert: plain ? text : `{${JSON.stringify(text)}}` };
  });
  return [...sums, ...calls, ...KEYWORDS.map(as('keyword')), ...metrics];
}

/** The list below the editor. */
class Completion {
  constructor(input, list, names, changed) {
    Object.assign(this, { input, list, names, changed, shown: [], chosen: -1, turn: 0 });
    input.addEventListener('keydown', (event) => this.key(event));
    input.addEventListener('blur', () => this.hide());
    list.addEventListener('mousedown', (event) => {
      event.preventDefault();
      const item = event.target.closest('li');
      if (item) this.take(Number(item.dataset.number));
    });
  }

  async update() {
    const turn = (this.turn += 1);
    const at = situation(this.input.value, this.input.selectionStart);
    if (at.kind === 'none') return this.hide();
    const found = matching(await candidates(this.names, at), at.typed);
    if (turn !== this.turn || document.activeElement !== this.input) return undefined;
    this.at = at;
    this.shown = found;
    this.chosen = -1;
    return found.length ? this.show() : this.hide();
  }

  show() {
    this.list.replaceChildren(...this.shown.map((item, number) => make('li', {
      role: 'option', id: `suggestion-${number}`, 'data-number': number, 'aria-selected': number === this.chosen,
    }, make('span', { class: 'text' }, item.text), make('span', { class: 'kind' }, item.kind))));
    this.list.hidden = false;
    this.input.setAttribute('aria-expanded', 'true');
    this.mark();
  }

  mark() {
    [...this.list.children].forEach((item, number) => {
      item.setAttribute('aria-selected', String(number === this.chosen));
      if (number === this.chosen) item.scrollIntoView({ block: 'nearest' });
    });
    if (this.chosen < 0) this.input.removeAttribute('aria-activedescendant');
    else this.input.setAttribute('aria-activedescendant', `suggestion-${this.chosen}`);
  }

  hide() {
    this.turn += 1;
    this.shown = [];
    this.list.hidden = true;
    this.input.setAttribute('aria-expanded', 'false');
    this.input.removeAttribute('aria-activedescendant');
  }

  /** Keys of the list; whether it took this one is `event.defaultPrevented`. */
  key(event) {
    if (event.key === ' ' && event.ctrlKey) {
      event.preventDefault();
      this.update();
      return;
    }
    if (!this.shown.length) return;
    const last = this.shown.length - 1;
    if (event.key === 'ArrowDown') this.chosen = this.chosen >= last ? 0 : this.chosen + 1;
    else if (event.key === 'ArrowUp') this.chosen = this.chosen <= 0 ? last : this.chosen - 1;
    else if (event.key === 'Escape') return event.preventDefault(), this.hide();
    else if (event.key === 'Tab' && !event.shiftKey) return event.preventDefault(), this.take(Math.max(this.chosen, 0));
    else if (event.key === 'Enter' && this.chosen >= 0) return event.preventDefault(), this.take(this.chosen);
    else return undefined;
    event.preventDefault();
    return this.mark();
  }

  take(number) {
    const { insert } = this.shown[number];
    const { from, to } = this.at;
    this.input.setRangeText(insert, from, to, 'end');
    this.hide();
    this.input.focus();
    this.changed();
  }
}
