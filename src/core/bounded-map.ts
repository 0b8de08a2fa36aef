/** Sets it as the newest, for which the oldest goes once there are `most`. @returns the value */
export function setBounded<Key, Value>(map: Map<Key, Value>, most: number, key: Key, value: Value): Value {
  if (map.size >= most) map.delete(map.keys().next().value!);
  map.set(key, value);
  return value;
}
