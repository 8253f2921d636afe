// page.mjs URL: drives the page of a running querier that has the data of the demo. See page.sh.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const { chromium } = createRequire(`${process.env.SABRE_MODULES}/`)('playwright-core');
const base = process.argv[2];
const shots = process.env.SABRE_SHOTS;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});

/** Opens a page in a window of its own, and fails if it complains or loads anything from elsewhere. */
async function visit(name, path, look, { width = 1280, height = 860, dark = false, phone = false } = {}) {
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', hasTouch: phone, isMobile: phone,
  });
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    // A refused query is told by the browser too.
    if (['error', 'warning'].includes(message.type()) && !message.text().includes('status of 4')) complaints.push(message.text());
  });
  page.on('request', (request) => { if (!request.url().startsWith(base) && !request.url().startsWith('data:')) complaints.push(request.url()); });
  await page.goto(base + path);
  await look(page);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (shots) await page.screenshot({ path: `${shots}/${name}.png` });
  assert.equal(overflow, 0, `${name} is wider than its window`);
  assert.deepEqual(complaints, [], name);
  await context.close();
  console.log(`page: ${name}: ok`);
}

const address = (expression, more = '') => `/graph?g0.expr=${encodeURIComponent(expression)}${more}`;
const rate = 'sum by (code) (rate(http_requests_total[5m]))';

await visit('keyboard', '/', async (page) => {
  assert.ok(page.url().startsWith(`${base}/graph`), 'the root leads to the graph');
  // Everything by keys: a metric is suggested, taken, and run.
  await page.keyboard.type('http_requests');
  await page.waitForSelector('#suggestions li:has-text("http_requests_total")');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.equal(await page.inputValue('#expr'), 'http_requests_total');
  await page.keyboard.type('{');
  await page.waitForSelector('#suggestions li:has-text("code")');
  await page.keyboard.type('co');
  await page.waitForSelector('#suggestions li:first-child:has-text("code")');
  await page.keyboard.press('Tab');
  await page.keyboard.type('="2');
  await page.waitForSelector('#suggestions li:has-text("200")');
  await page.keyboard.press('Tab');
  await page.keyboard.type('"}');
  assert.equal(await page.inputValue('#expr'), 'http_requests_total{code="200"}');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.legend button');
  assert.match(await page.textContent('#status'), /\d+ series · [\d,]+ points · step \d+s/);
  // The graph's values can be read by keys.
  await page.focus('#chart');
  await page.keyboard.press('ArrowLeft');
  await page.waitForSelector('.tip:not([hidden]) b');
  assert.match(await page.textContent('.tip .when'), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
  await page.focus('#tab-graph');
  await page.keyboard.press('ArrowRight');
  await page.waitForSelector('#result-table td.number');
});

await visit('graph', address(rate, '&g0.range_input=6h'), async (page) => {
  await page.waitForSelector('.legend button');
  const drawn = await page.evaluate(() => {
    const canvas = document.querySelector('#chart canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4) if (data[at + 3]) colours.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
    return colours.size;
  });
  assert.ok(drawn > 10, `only ${drawn} colours are drawn`);
  // Dragging over the graph asks for what was marked.
  const box = await page.locator('#chart').boundingBox();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 100);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 120, { steps: 5 });
  await page.mouse.up();
  await page.waitForFunction(() => document.getElementById('end').value !== '');
  assert.notEqual(await page.inputValue('#range'), '6h');
  // The address is the query: going back brings the old one.
  await page.goBack();
  await page.waitForFunction(() => document.getElementById('range').value === '6h');
  await page.waitForSelector('.legend button');
  await page.click('#cost summary');
  assert.match(await page.textContent('#cost-body'), /Evaluation.*127\.0\.0\.1:\d+/s);
});

await visit('switches', address('count by (replica) (up)', '&g0.tab=1'), async (page) => {
  await page.waitForSelector('#result-table td.number');
  assert.equal(await page.locator('#result-table tbody tr').count(), 1, 'replicas are one');
  await page.uncheck('#dedup');
  await page.waitForFunction(() => document.querySelectorAll('#result-table tbody tr').length > 1);
  assert.ok(page.url().includes('g0.deduplicate=0'));
  await page.selectOption('#resolution', '1h');
  await page.waitForFunction(() => location.search.includes('g0.max_source_resolution=1h'));
});

await visit('warning', address('quantile(2, up)', '&g0.tab=1'), async (page) => {
  await page.waitForSelector('.notice.warn');
  assert.match(await page.textContent('.notice.warn'), /quantile value should be between 0 and 1/);
  const asked = page.waitForRequest((request) => (request.postData() || '').includes('partial_response=false'));
  await page.uncheck('#partial');
  await asked;
  await page.waitForFunction(() => location.search.includes('g0.partial_response=0'));
});

await visit('error', address('1 +\n  rate(up)'), async (page) => {
  await page.waitForSelector('.notice.bad');
  assert.match(await page.textContent('.notice.bad'), /2:8: parse error: expected type range vector/);
  assert.equal(await page.textContent('.t-wrong'), 'up', 'the error is marked where it is');
  await page.fill('#end', 'soon');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#end[aria-invalid="true"]');
});

await visit('stores', '/stores', async (page) => {
  await page.waitForSelector('.badge.up');
  assert.equal(await page.locator('.badge.up').count(), 3);
  assert.match(await page.textContent('#stores-list'), /cluster="demo"/);
  await page.fill('#stores-filter', 'replica="a"');
  await page.waitForFunction(() => document.querySelectorAll('#stores-list tbody tr').length < 3);
});

await visit('dark', address(rate), async (page) => {
  await page.waitForSelector('.legend button');
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.ok(background.match(/\d+/g).every((part) => Number(part) < 60), background);
  await page.click('#theme');
  await page.waitForFunction(() => document.documentElement.dataset.dark === 'no');
}, { dark: true });

for (const [name, path, wanted] of [['phone', address(rate), '.legend button'], ['phone-table', address('up', '&g0.tab=1'), 'td.number'],
  ['phone-stores', '/stores', '.badge.up']]) {
  await visit(name, path, (page) => page.waitForSelector(wanted), { width: 360, height: 740, phone: true });
}

await browser.close();
