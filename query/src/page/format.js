'use strict';
// Texts, numbers, durations and times as people read them.

const SECOND = 1000;
const UNITS = [['y', 31536000], ['w', 604800], ['d', 86400], ['h', 3600], ['m', 60], ['s', 1]];

/** Makes an element: `make('p', {class: 'x', onclick: f}, 'text', child)`. */
function make(name, members, ...children) {
  const svg = ['svg', 'path', 'line', 'text', 'g', 'rect', 'circle'].includes(name);
  const element = svg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
  for (const [key, value] of Object.entries(members || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** `1h30m` in seconds; NaN if it is none. A plain number is seconds. */
function parseDuration(text) {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  if (!/^(\d+(y|w|d|h|m|s)\s*)+$/.test(trimmed)) return NaN;
  let seconds = 0;
  for (const [, count, unit] of trimmed.matchAll(/(\d+)(y|w|d|h|m|s)/g)) {
    seconds += Number(count) * UNITS.find(([name]) => name === unit)[1];
  }
  return seconds;
}

/** Seconds as `1h30m`. */
function formatDuration(seconds) {
  let rest = Math.round(seconds);
  if (rest === 0) return '0s';
  let text = '';
  for (const [name, length] of UNITS) {
    if (name === 'y' || name === 'w') {
      if (rest % length !== 0) continue;
    }
    const count = Math.floor(rest / length);
    if (count > 0) text += count + name;
    rest -= count * length;
    if (rest === 0) break;
  }
  return text;
}

/** Milliseconds as `2026-01-31 12:00:00` in UTC. */
function formatTime(ms) {
  const date = new Date(ms);
  return isNaN(date) ? '' : date.toISOString().slice(0, 19).replace('T', ' ');
}

/** The reverse, in milliseconds; also RFC 3339 and Unix seconds. NaN if it is none. */
function parseTime(text) {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) * SECOND;
  const spaced = trimmed.replace(' ', 'T');
  if (!/^\d{4}-\d\d-\d\d/.test(spaced)) return NaN;
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(spaced) || !spaced.includes('T') ? spaced : spaced + 'Z';
  return Date.parse(zoned);
}

/** A number short enough for an axis or a legend. */
function shortNumber(value) {
  if (!isFinite(value)) return isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
  const size = Math.abs(value);
  if (size === 0) return '0';
  const steps = [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']];
  for (const [step, letter] of steps) {
    if (size >= step && size < step * 1000) return trim(value / step) + letter;
  }
  if (size >= 1e15 || size < 1e-4) return value.toExponential(2).replace(/\.?0+e/, 'e');
  return trim(value);
}

function trim(value) {
  return String(Number(value.toPrecision(4)));
}

function formatBytes(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let size = bytes;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${Number(size.toPrecision(3))} ${units[unit]}`;
}

function formatSeconds(seconds) {
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Number((seconds * 1000).toPrecision(3))} ms`;
  return `${Number(seconds.toPrecision(3))} s`;
}

function count(number, one, many) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/** `up{job="a"}` of a label set. */
function seriesName(labels) {
  const name = labels.__name__ || '';
  const plain = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name);
  const pairs = Object.entries(labels).filter(([label]) => label !== '__name__');
  const texts = pairs.map(([label, value]) => `${quoteName(label)}=${JSON.stringify(value)}`);
  if (name && !plain) texts.unshift(JSON.stringify(name));
  const head = plain ? name : '';
  return texts.length || !head ? `${head}{${texts.join(', ')}}` : head;
}

function quoteName(name) {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : JSON.stringify(name);
}

/** The same as elements, with names and values told apart. */
function seriesElement(labels) {
  const name = labels.__name__;
  const pairs = Object.entries(labels).filter(([label]) => label !== '__name__');
  const span = make('span', { class: 'series' });
  if (name) span.append(make('b', {}, name));
  if (pairs.length || !name) {
    span.append('{');
    pairs.forEach(([label, value], number) => {
      span.append(number ? ', ' : '', make('span', { class: 'name' }, quoteName(label)), '=',
        make('span', { class: 'value' }, JSON.stringify(value)));
    });
    span.append('}');
  }
  return span;
}
