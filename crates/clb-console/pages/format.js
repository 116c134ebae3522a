// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** A count: 12,345. */
export const count = (value) => whole.format(value ?? 0);

/** A rate: 12.3. */
export const rate = (value) => (value === null || value === undefined ? "–" : short.format(value));

/** Octets: 12.3 MiB. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let place = 0;
  for (; value >= 1024 && place < units.length - 1; place++) value /= 1024;
  return `${short.format(value)} ${units[place]}`;
}

/** Bits a second: 12.3 Mbit/s. */
export function bits(value) {
  if (value === null || value === undefined) return "–";
  const units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];
  let place = 0;
  for (; value >= 1000 && place < units.length - 1; place++) value /= 1000;
  return `${short.format(value)} ${units[place]}`;
}

/** Seconds: 12.3 ms. */
export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value < 1) return `${short.format(value * 1000)} ms`;
  if (value < 120) return `${short.format(value)} s`;
  if (value < 7200) return `${short.format(value / 60)} min`;
  if (value < 172800) return `${short.format(value / 3600)} h`;
  return `${whole.format(value / 86400)} days`;
}

/** A moment, in milliseconds since 1970. */
export const moment = (value) => new Date(value).toLocaleString("sv-SE");

/** How long ago. */
export const ago = (value, now) => (value === null ? "–" : `${seconds(Math.max(0, now - value) / 1000)} ago`);

/** What a histogram says of a share of the requests, in seconds; buckets are counts of the time between two looks. */
export function quantile(share, bounds, buckets, all) {
  if (!all) return null;
  let wanted = share * all;
  for (let place = 0; place < bounds.length; place++) {
    const least = place ? bounds[place - 1] : 0;
    if (buckets[place] >= wanted && buckets[place] > 0) return least + (bounds[place] - least) * (wanted / buckets[place]);
    wanted -= buckets[place];
  }
  return bounds[bounds.length - 1];
}
