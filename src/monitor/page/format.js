// Figures as people read them. The same number is written the same way everywhere on the page.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

export const NONE = "–";
export const PRIORITIES = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "z"];

const known = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (known(value) ? whole.format(value) : NONE);
export const compact = (value) => (known(value) ? (Math.abs(value) < 10000 ? whole : short).format(value) : NONE);
export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

// Recipients a second.
export function rate(value) {
  if (!known(value) || value <= 0) return NONE;
  if (value < 0.1) return "< 0.1/s";
  return `${(value < 10 ? tenth : value < 100000 ? whole : short).format(value)}/s`;
}

// The two largest units that say something, as the commands write it: 3d4h, 2h5m, 1m40s, 12s.
export function duration(seconds) {
  if (!known(seconds)) return NONE;
  const s = Math.max(0, Math.floor(seconds));
  if (s >= 86400) return `${Math.floor(s / 86400)}d${Math.floor(s / 3600) % 24}h`;
  if (s >= 3600) return `${Math.floor(s / 3600)}h${Math.floor(s / 60) % 60}m`;
  if (s >= 60) return `${Math.floor(s / 60)}m${s % 60}s`;
  return `${s}s`;
}

// Short ones matter to whoever was waited for.
export function precise(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 60) return `${tenth.format(seconds)} s`;
  return duration(seconds);
}

export function share(done, total) {
  if (!(total > 0)) return 0;
  return Math.min(1, Math.max(0, done / total));
}

// 100 % only when nothing is left, 0 % only when nothing is done.
export function percent(done, total) {
  const part = share(done, total) * 100;
  if (part > 0 && part < 1) return "< 1 %";
  return `${Math.floor(part)} %`;
}

export const size = (octets) =>
  octets < 1024 ? `${octets} B` : octets < 1048576 ? `${tenth.format(octets / 1024)} KB` : `${tenth.format(octets / 1048576)} MB`;

export const time = (at) => (known(at) ? clock.format(at * 1000) : NONE);
export const hourMinute = (at) => (known(at) ? minute.format(at * 1000) : NONE);
// The hour where that is unmistakable, else with the day.
const nearDay = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
export const nearTime = (at, now) => (Math.abs(at - now) < 12 * 3600 ? hourMinute(at) : nearDay.format(at * 1000));
export const dateTime = (at) => (known(at) ? day.format(at * 1000) : NONE);

// What the server says in words has its times as UTC, which nobody's clock beside it shows.
export const localTimes = (words) => words.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (utc) => {
  const at = Date.parse(utc) / 1000;
  return known(at) ? dateTime(at) : utc;
});

// Express workers have the numbers from there on.
const FIRST_EXPRESS = 1024;
export const workerName = (number) => (number < FIRST_EXPRESS ? `${number}` : `x${number - FIRST_EXPRESS}`);

export const priorityName = (priority) => (priority === "z" ? "z (held)" : `${priority}`);
