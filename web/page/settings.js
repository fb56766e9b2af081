// What the sliders are set to, kept in the page's address so that a link carries it.

/** Each slider: its name in the address, its label, the values it steps through. */
const channels = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
export const sliders = {
  in: { label: "input channels", values: channels },
  out: { label: "output channels", values: channels },
  kernel: { label: "kernel size", values: [1, 3, 5, 7, 9, 11] },
  stride: { label: "stride", values: [1, 2, 3, 4] },
  size: { label: "height and width", values: [4, 7, 8, 14, 16, 28, 32, 56, 64, 112, 128, 224, 256] },
  groups: { label: "groups (normal)", values: channels },
};

const start = { in: 3, out: 4, kernel: 3, stride: 1, size: 64, groups: 1, layers: "this" };

/** Every number of groups that both channel counts can be divided into. */
export const groupings = (settings) =>
  channels.filter((groups) => settings.in % groups === 0 && settings.out % groups === 0);

/** The settings of an address; what it lacks, or has wrong, is as at the start. */
export function fromHash(hash) {
  const given = new URLSearchParams(hash.slice(1));
  const settings = { ...start };
  for (const [name, { values }] of Object.entries(sliders)) {
    if (values.includes(Number(given.get(name)))) settings[name] = Number(given.get(name));
  }
  if (given.get("layers") === "networks") settings.layers = "networks";
  if (!groupings(settings).includes(settings.groups)) settings.groups = 1;
  return settings;
}

export const toHash = (settings) => `#${new URLSearchParams(settings)}`;
