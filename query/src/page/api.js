'use strict';
// Asking the server. Addresses are relative to the page, so that any prefix will do.

const ApiFailure = class extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
};

/** Posts a form and returns the whole answer; `signal` ends it. */
async function ask(path, parameters, signal) {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters || {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== '') form.append(name, one);
    }
  }
  const query = form.toString();
  const posts = /^(query|query_range|series|labels)$/.test(path);
  const address = `api/v1/${path}` + (!posts && query ? `?${query}` : '');
  let response;
  try {
    response = await fetch(address, posts ? { method: 'POST', body: form, signal } : { signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiFailure('network', 'the server does not answer');
  }
  let answer;
  try {
    answer = await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiFailure('network', `the server answered ${response.status} ${response.statusText}`);
  }
  if (answer.status !== 'success') throw new ApiFailure(answer.errorType, answer.error);
  return answer;
}
