// Numbers, times and sizes as people read them.
// Owns: words for values. Must not: touch the page.

// Made once: making one takes longer than a row of a table.
const MOMENT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const DAY_OF_YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 1234567 -> "1,234,567"; what is not there -> "–". */
export function count(value) {
  return Number.isFinite(value) ? WHOLE.format(value) : "–";
}

/** Four significant digits, no exponent where none is needed: 0.68421 -> "0.6842", 1e-7 -> "1.0e−7". */
export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  const text = size && (size < 1e-4 || size >= 1e6) ? value.toExponential(Math.max(1, digits - 3)) : String(Number(value.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

/** 0.1234 -> "12 %". */
export function percent(value, digits = 0) {
  return Number.isFinite(value) ? `${(100 * value).toFixed(digits)}\u00a0%` : "–";
}

/** Seconds -> "48 s", "12 min", "3 h 05", "2 d 4 h". */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")}`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Bytes -> "3.7 MB". */
export function size(bytes) {
  if (!Number.isFinite(bytes)) return "–";
  for (const [unit, scale] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= scale) return `${(bytes / scale).toFixed(bytes >= 10 * scale ? 0 : 1)} ${unit}`;
  }
  return `${bytes} B`;
}

/** An ISO time -> "23 Nov 2026, 08:24" in the reader's zone; anything else as it is. */
export function date(iso) {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return iso ? String(iso) : "–";
  return MOMENT.format(time);
}

/** An ISO time -> "now", "12 min ago", "5 h ago", "yesterday", "23 Nov", "23 Nov 2024". */
export function ago(iso, now = new Date()) {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return "–";
  const minutes = Math.round((now - time) / 60000);
  if (minutes < 1) return "now";
  if (minutes < 90) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.round(minutes / 60)} h ago`;
  if (minutes < 48 * 60) return "yesterday";
  return (time.getFullYear() === now.getFullYear() ? DAY : DAY_OF_YEAR).format(time);
}

/** frames at 60 a second -> "1:05". */
export function clock(frames) {
  const seconds = Math.floor(frames / 60);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
