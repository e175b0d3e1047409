// Numbers for people. "–" stands for what is not known.

const NOT_KNOWN = "–";
const THIN_SPACE = "\u202f";

// Three digits at most: [12.3, "M"] of 12345678.
function scaled(number) {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  let size = 0;
  while (number >= 999.5 && size < prefixes.length - 1) {
    number /= 1000;
    size += 1;
  }
  const isWhole = size === 0 ? Number.isInteger(number) || number >= 9.95 : number >= 99.95;
  const digits = isWhole ? 0 : size > 0 && number < 9.995 ? 2 : 1;
  return [number.toFixed(digits), prefixes[size]];
}

// "12.3 M" of 12345678.
function short(number) {
  if (number === null || number === undefined) return NOT_KNOWN;
  const [digits, prefix] = scaled(number);
  return prefix ? `${digits}${THIN_SPACE}${prefix}` : digits;
}

// "12 345 678": every digit.
function whole(number) {
  if (number === null || number === undefined) return NOT_KNOWN;
  return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, THIN_SPACE);
}

function percent(share) {
  if (share === null || share === undefined || !Number.isFinite(share)) return NOT_KNOWN;
  const hundredths = 100 * share;
  const digits = hundredths > 0 && hundredths < 9.95 ? 1 : 0;
  return `${hundredths.toFixed(digits)}${THIN_SPACE}%`;
}

// "3 d 4 h", "5 min 3 s".
function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [name, size] = units[first];
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
  return `${Math.floor(seconds / size)} ${name}` + (rest > 0 ? ` ${rest} ${next[0]}` : "");
}

function plural(count, one, many) {
  return `${whole(count)} ${count === 1 ? one : many}`;
}
