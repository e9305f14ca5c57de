// One sandbox by srt's library: reads one line of JSON from standard input, says what starts the sandbox, and runs
// srt's proxy until standard input ends.

import { isDeepStrictEqual } from 'node:util'
import { pathToFileURL } from 'node:url'
import { rmSync } from 'node:fs'

const OLDEST_NODE = 20

function say(answer) {
  process.stdout.write(JSON.stringify(answer) + '\n')
}

async function readLine() {
  let text = ''
  process.stdin.setEncoding('utf8')
  for await (const piece of process.stdin.iterator({ destroyOnReturn: false })) {
    text += piece
    if (text.endsWith('\n')) return JSON.parse(text)
  }
  process.exit(0)
}

async function start({ library, settings, shell, command }) {
  const major = Number(process.versions.node.split('.')[0])
  if (major < OLDEST_NODE) throw new Error(`Node.js ${process.versions.node} is too old, srt needs ${OLDEST_NODE} or newer`)
  const srt = await import(pathToFileURL(library))
  // What srt does not know it leaves out without a word: then the policy would be another.
  const read = srt.SandboxRuntimeConfigSchema.safeParse(settings)
  if (!read.success) throw new Error(`srt refuses the settings: ${read.error.issues.map(one => `${one.path.join('.')}: ${one.message}`).join('; ')}`)
  if (!isDeepStrictEqual(read.data, settings)) throw new Error('srt does not know all of the settings')
  await srt.SandboxManager.initialize(settings)
  const options = { commandId: 'agentd' }
  return [srt.SandboxManager, await srt.SandboxManager.wrapWithSandbox(command, shell, undefined, undefined, options)]
}

const request = await readLine()
let manager
try {
  const [started, command] = await start(request)
  manager = started
  say({ command })
} catch (error) {
  say({ error: String(error?.message ?? error) })
}
// Whoever has started this is gone when standard input ends, and cannot tidy up.
process.stdin.on('end', async () => {
  await manager?.reset()
  rmSync(request.folder, { recursive: true, force: true })
  process.exit(0)
})
process.stdin.resume()
