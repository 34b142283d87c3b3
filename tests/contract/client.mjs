// Runs with an official TypeScript client: `node client.mjs PACKAGE`, in a directory where that package is installed.
// As client.py does, it prints one line of JSON for each check; DAYTONA_API_URL and DAYTONA_API_KEY are all it is told.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const require = createRequire(pathToFileURL(process.cwd() + '/'))
const { Daytona, Image } = require(process.argv[2])
const client = new Daytona()
const box = await client.create()

function must(holds, seen) {
  if (!holds) throw new Error('not as expected: ' + JSON.stringify(seen))
}

async function raises(name, call) {
  try {
    await call()
  } catch (error) {
    must(error.constructor.name === name, error.constructor.name + ': ' + error.message)
    return
  }
  throw new Error('nothing was raised')
}

const CHECKS = {
  'lifecycle.create_answers_started': async () => must(box.state === 'started', box.state),
  'process.exec': async () => {
    const ran = await box.process.executeCommand('echo hi; exit 3')
    must(ran.exitCode === 3 && ran.result.trim() === 'hi', ran)
  },
  'process.exec_timeout': async () =>
    raises('DaytonaProcessExecutionTimeoutError', () =>
      box.process.executeCommand('sleep 30', undefined, undefined, 1),
    ),
  'process.code_run': async () => {
    const ran = await box.process.codeRun('print(6 * 7)')
    must(ran.exitCode === 0 && ran.result.trim() === '42', ran)
  },
  'process.code_run_exit_code': async () => {
    const ran = await box.process.codeRun('raise SystemExit(7)')
    must(ran.exitCode === 7, ran)
  },
  'process.javascript': async () => {
    const other = await client.create({ language: 'javascript' })
    const ran = await other.process.codeRun('console.log(1 + 1); process.exit(4)')
    await other.delete()
    must(ran.exitCode === 4 && ran.result.trim() === '2', ran)
  },
  'files.upload_download': async () => {
    await box.fs.uploadFile(Buffer.from([0, 255, 10]), 'a.bin')
    const found = await box.fs.downloadFile('a.bin')
    must(found.equals(Buffer.from([0, 255, 10])), found)
  },
  'files.folder_info_list': async () => {
    await box.fs.createFolder('dir', '755')
    await box.fs.uploadFile(Buffer.from('needle'), 'dir/b.txt')
    const found = await box.fs.listFiles('dir')
    must(found.length === 1 && found[0].name === 'b.txt' && found[0].size === 6, found)
  },
  'files.find_in_files': async () => {
    const found = await box.fs.findFiles('dir', 'needle')
    must(found.length === 1 && found[0].line === 1, found)
  },
  'files.search_by_name': async () => {
    const found = await box.fs.searchFiles('dir', '*.txt')
    must(found.files.length === 1, found)
  },
  'files.replace_in_files': async () => {
    const found = await box.fs.replaceInFiles(['dir/b.txt'], 'needle', 'thread')
    must(found[0].success, found)
    must((await box.fs.downloadFile('dir/b.txt')).toString() === 'thread', found)
  },
  'files.move_and_permissions': async () => {
    await box.fs.moveFiles('dir/b.txt', 'c.txt')
    await box.fs.setFilePermissions('c.txt', { mode: '640' })
    const found = await box.fs.getFileDetails('c.txt')
    must(found.permissions.endsWith('640'), found)
  },
  'process.session_keeps_state': async () => {
    await box.process.createSession('s')
    await box.process.executeSessionCommand('s', { command: 'cd /tmp; export A=1' })
    const ran = await box.process.executeSessionCommand('s', { command: 'pwd; echo $A' })
    must(ran.output.trim() === '/tmp\n1', ran)
  },
  'process.session_async_command_and_logs': async () => {
    const command = 'echo out; sleep 0.3; echo err >&2'
    const begun = await box.process.executeSessionCommand('s', { command, runAsync: true })
    let [out, err] = ['', '']
    await box.process.getSessionCommandLogs('s', begun.cmdId, (text) => (out += text), (text) => (err += text))
    must(out.trim() === 'out' && err.trim() === 'err', [out, err])
    await box.process.deleteSession('s')
  },
  'terminals.pty': async () => {
    let seen = ''
    const onData = (data) => (seen += new TextDecoder().decode(data))
    const handle = await box.process.createPty({ id: 'p', cols: 100, rows: 30, onData })
    await handle.waitForConnection()
    await handle.sendInput('stty size; echo marker-$((40 + 2)); exit 5\n')
    const ended = await handle.wait()
    must(seen.includes('30 100') && seen.includes('marker-42') && ended.exitCode === 5, [seen, ended])
  },
  'interpreter.state_persists': async () => {
    await box.codeInterpreter.runCode('value = 41')
    const ran = await box.codeInterpreter.runCode('print(value + 1)')
    must(ran.stdout.trim() === '42', ran)
  },
  'git.clone_status': async () => {
    const script =
      'git init -q --bare -b main /tmp/o.git; git clone -q /tmp/o.git /tmp/w; cd /tmp/w; git checkout -qB main;' +
      ' git -c user.name=n -c user.email=e@x commit -q --allow-empty -m first; git push -q origin main'
    await box.process.executeCommand(script)
    await box.git.clone('/tmp/o.git', 'work')
    const found = await box.git.status('work')
    must(found.currentBranch === 'main', found)
  },
  'lifecycle.list_and_filter_by_label': async () => {
    await box.setLabels({ only: 'this' })
    const found = []
    for await (const one of await client.list({ labels: { only: 'this' } })) found.push(one.id)
    must(found.length === 1 && found[0] === box.id, found)
  },
  'lifecycle.stop_start_keeps_files': async () => {
    await box.stop()
    must(box.state === 'stopped', box.state)
    await box.start()
    must((await box.fs.downloadFile('c.txt')).toString() === 'thread', box.state)
  },
  'lifecycle.fork': async () => {
    const twin = await box.fork({ name: 'twin-of-typescript' })
    const found = await twin.fs.downloadFile('c.txt')
    await twin.delete()
    must(found.toString() === 'thread', found.toString())
  },
  'settings.preview_link': async () => {
    const found = await box.getPreviewLink(3000)
    must(found.url && found.token, found)
  },
  'settings.ssh_access': async () => {
    const made = await box.createSshAccess(5)
    must((await box.validateSshAccess(made.token)).valid, made)
    await box.revokeSshAccess(made.token)
    must(!(await box.validateSshAccess(made.token)).valid, made)
  },
  'snapshots.volumes': async () => {
    const volume = await client.volume.get('of-typescript', true)
    const volumes = [{ volumeId: volume.id, mountPath: '/home/daytona/v' }]
    const [one, two] = [await client.create({ volumes }), await client.create({ volumes })]
    await one.fs.uploadFile(Buffer.from('shared'), '/home/daytona/v/file')
    const found = await two.fs.downloadFile('/home/daytona/v/file')
    await one.delete()
    await two.delete()
    await client.volume.delete(volume)
    must(found.toString() === 'shared', found.toString())
  },
  'snapshots.create_from_image_with_logs': async () => {
    const image = Image.debianSlim('3.12').runCommands('echo built > /built.txt')
    const logs = []
    const options = { timeout: 120, onSnapshotCreateLogs: (text) => logs.push(text) }
    const made = await client.create({ image }, options)
    const ran = await made.process.executeCommand('cat /built.txt')
    await made.delete()
    must(ran.result.trim() === 'built', ran)
  },
  'errors.unknown_sandbox': async () => raises('DaytonaNotFoundError', () => client.get('never-made')),
}

for (const [check, run] of Object.entries(CHECKS)) {
  let [outcome, why] = ['passed', '']
  try {
    await run()
  } catch (error) {
    ;[outcome, why] = ['failed', String(error.stack || error).slice(0, 3000)]
  }
  console.log('RESULT ' + JSON.stringify({ check, outcome, why }))
}
await box.delete()
process.exit(0)
