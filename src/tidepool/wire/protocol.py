"""The protocol's endpoints: what official clients can ask for, whether this server has it or not.

One line is method, success status, path with the names of its query parameters, and what it is for. Two names of path
parameters never matter: what a client fills in is a value. What this server makes of each is told by its routes.
"""

import functools
import re
from dataclasses import dataclass

CONTROL = """\
GET 200 /api-keys | List api keys
POST 201 /api-keys | Create api key
GET 200 /api-keys/current | Get current api key
GET 200 /api-keys/{name} | Get api key
DELETE 204 /api-keys/{name} | Delete api key
DELETE 204 /api-keys/{userId}/{name} | Delete api key for user
GET 200 /audit/organizations/{organizationId}?page,limit,from,to,nextToken,id,actorId,actorEmail,\
actorApiKeyPrefix,actorApiKeySuffix,action,targetType,targetId,statusCode,createdAt \
| Get organization audit logs
GET 200 /audit/scenarios | Get audit scenarios
GET 200 /config | What a client must know of a server
GET 200 /docker-registry | List registries
POST 201 /docker-registry | Create registry
GET 200 /docker-registry/registry-push-access?regionId | Get transient push access
GET 200 /docker-registry/{id} | Get registry
PATCH 200 /docker-registry/{id} | Update registry
DELETE 204 /docker-registry/{id} | Delete registry
GET 200 /health | Whether the server answers
GET 200 /health/ready | Whether all parts work
GET 200 /jobs?page,limit,status,offset | List jobs
GET 200 /jobs/poll?timeout,limit | Poll jobs
GET 200 /jobs/{jobId} | Get job
POST 200 /jobs/{jobId}/status | Update job status
GET 200 /object-storage/push-access | Get push access
GET 200 /organizations | List organizations
POST 201 /organizations | Create organization
GET 200 /organizations/invitations | List organization invitations for authenticated user
GET 200 /organizations/invitations/count | Get organization invitations count for authenticated user
POST 200 /organizations/invitations/{invitationId}/accept | Accept organization invitation
POST 200 /organizations/invitations/{invitationId}/decline | Decline organization invitation
GET 200 /organizations/otel-config/by-sandbox-auth-token/{authToken} \
| Get organization telemetry config by sandbox auth token
GET 200 /organizations/sandbox-identity/by-sandbox-auth-token/{authToken} | Get sandbox identity by sandbox auth token
GET 200 /organizations/{organizationId} | Get organization
DELETE 204 /organizations/{organizationId} | Delete organization
GET 200 /organizations/{organizationId}/available-sandbox-classes | List available sandbox classes
PATCH 204 /organizations/{organizationId}/default-queue-timeout | Update organization default queue timeout
PATCH 204 /organizations/{organizationId}/default-region | Set organization default region
PUT 200 /organizations/{organizationId}/experimental-config | Update experimental config
GET 200 /organizations/{organizationId}/gpu-capacity | Get GPU capacity
GET 200 /organizations/{organizationId}/identity-providers | List organization identity providers
POST 201 /organizations/{organizationId}/identity-providers | Create organization identity provider
POST 200 /organizations/{organizationId}/identity-providers/test-connection \
| Test organization identity provider connection
POST 201 /organizations/{organizationId}/identity-providers/workos-admin-portal-link \
| Generate sign-on admin portal link
GET 200 /organizations/{organizationId}/identity-providers/workos-sso-connections | List sign-on SSO connections
GET 200 /organizations/{organizationId}/identity-providers/{id} | Get organization identity provider
PATCH 200 /organizations/{organizationId}/identity-providers/{id} | Update organization identity provider
DELETE 204 /organizations/{organizationId}/identity-providers/{id} | Delete organization identity provider
GET 200 /organizations/{organizationId}/invitations | List organization invitations
POST 201 /organizations/{organizationId}/invitations | Create organization invitation
PUT 200 /organizations/{organizationId}/invitations/{invitationId} | Update organization invitation
POST 204 /organizations/{organizationId}/invitations/{invitationId}/cancel | Cancel organization invitation
POST 204 /organizations/{organizationId}/leave | Leave organization
GET 200 /organizations/{organizationId}/otel-config | Get organization telemetry config
PUT 204 /organizations/{organizationId}/otel-config | Update organization telemetry config
DELETE 204 /organizations/{organizationId}/otel-config | Delete organization telemetry config
GET 200 /organizations/{organizationId}/roles | List organization roles
POST 201 /organizations/{organizationId}/roles | Create organization role
PUT 200 /organizations/{organizationId}/roles/{roleId} | Update organization role
DELETE 204 /organizations/{organizationId}/roles/{roleId} | Delete organization role
GET 200 /organizations/{organizationId}/usage | Get organization usage overview
GET 200 /organizations/{organizationId}/users | List organization members
DELETE 204 /organizations/{organizationId}/users/{userId} | Delete organization member
POST 200 /organizations/{organizationId}/users/{userId}/access | Update access for organization member
GET 200 /preview/{sandboxId}/access | Has sandbox access
GET 200 /preview/{sandboxId}/preview-warning?port | Is preview warning enabled
GET 200 /preview/{sandboxId}/public | Is sandbox public
GET 200 /preview/{sandboxId}/signing-key | Get signing key
GET 200 /preview/{sandboxId}/validate/{authToken} | Is valid auth token
GET 200 /preview/{signedPreviewToken}/{port}/sandbox-id | Get sandbox id from signed preview URL token
GET 200 /regions | List available regions
POST 201 /regions | Create region
GET 200 /regions/{id} | Get region by id
PATCH 200 /regions/{id} | Update region
DELETE 204 /regions/{id} | Delete region
POST 200 /regions/{id}/regenerate-proxy-api-key | Regenerate proxy api key
POST 200 /regions/{id}/regenerate-snapshot-manager-credentials | Regenerate snapshot manager credentials
POST 200 /regions/{id}/regenerate-ssh-gateway-api-key | Regenerate SSH gateway api key
GET 200 /runners?regionId | List runners
POST 201 /runners | Create runner
GET 200 /runners/by-sandbox/{sandboxId} | Get runner by sandbox id
GET 200 /runners/by-snapshot-ref?ref | Get runners by snapshot ref
POST 200 /runners/healthcheck | Runner healthcheck
GET 200 /runners/me | Get info for authenticated runner
GET 200 /runners/me/snapshots | Get snapshot refs for authenticated runner
GET 200 /runners/{id} | Get runner by id
DELETE 204 /runners/{id}?force | Delete runner
PATCH 200 /runners/{id}/draining | Update runner draining
GET 200 /runners/{id}/full | Get runner full by id
PATCH 200 /runners/{id}/scheduling | Update runner scheduling
GET 200 /sandbox?cursor,limit,id,name,labels,includeErroredDeleted,includeWarm,states,snapshots,regionIds,\
sandboxClasses,minCpu,maxCpu,minMemoryGiB,maxMemoryGiB,minDiskGiB,maxDiskGiB,minGpu,maxGpu,isPublic,\
isRecoverable,createdAtAfter,createdAtBefore,lastEventAfter,lastEventBefore,autoDestroyAtAfter,\
autoDestroyAtBefore,sort,order | Sandboxes that match, page by page
POST 200 /sandbox | Create sandbox
GET 200 /sandbox/for-runner?states,skipReconcilingSandboxes | Get sandboxes for runner
GET 200 /sandbox/ssh-access/validate?token | Validate SSH access
GET 200 /sandbox/{sandboxIdOrName}?verbose | Get sandbox
DELETE 200 /sandbox/{sandboxIdOrName} | Delete sandbox
GET 200 /sandbox/{sandboxIdOrName}/ancestors | Get sandbox ancestors
POST 200 /sandbox/{sandboxIdOrName}/archive | Archive sandbox
POST 200 /sandbox/{sandboxIdOrName}/autoarchive/{interval} | Set auto archive interval
POST 200 /sandbox/{sandboxIdOrName}/autodelete/{interval} | Set auto delete interval
POST 200 /sandbox/{sandboxIdOrName}/autopause/{interval} | Set auto pause interval
POST 200 /sandbox/{sandboxIdOrName}/autostop/{interval} | Set autostop interval
POST 200 /sandbox/{sandboxIdOrName}/backup | Create backup
GET 200 /sandbox/{sandboxIdOrName}/build-logs?follow | Get build logs
GET 200 /sandbox/{sandboxIdOrName}/build-logs-url | Get build logs URL
POST 200 /sandbox/{sandboxIdOrName}/fork | Fork sandbox
GET 200 /sandbox/{sandboxIdOrName}/forks?includeDestroyed | Get sandbox forks
PUT 200 /sandbox/{sandboxIdOrName}/labels | Replace labels
POST 200 /sandbox/{sandboxIdOrName}/network-settings | Update network settings
GET 200 /sandbox/{sandboxIdOrName}/parent | Get sandbox parent
POST 200 /sandbox/{sandboxIdOrName}/pause | Pause sandbox
GET 200 /sandbox/{sandboxIdOrName}/ports/{port}/preview-url | Get port preview URL
GET 200 /sandbox/{sandboxIdOrName}/ports/{port}/signed-preview-url?expiresInSeconds | Get signed port preview URL
POST 200 /sandbox/{sandboxIdOrName}/ports/{port}/signed-preview-url/{token}/expire | Expire signed port preview URL
POST 200 /sandbox/{sandboxIdOrName}/public/{isPublic} | Update public status
POST 200 /sandbox/{sandboxIdOrName}/recover?skipStart | Recover sandbox
POST 200 /sandbox/{sandboxIdOrName}/resize | Resize sandbox
PUT 200 /sandbox/{sandboxIdOrName}/secrets | Update sandbox secrets
POST 200 /sandbox/{sandboxIdOrName}/snapshot | Create sandbox snapshot
POST 200 /sandbox/{sandboxIdOrName}/ssh-access?expiresInMinutes | Create SSH access
DELETE 200 /sandbox/{sandboxIdOrName}/ssh-access?token | Revoke SSH access
POST 200 /sandbox/{sandboxIdOrName}/start | Start sandbox
POST 200 /sandbox/{sandboxIdOrName}/stop?force | Stop sandbox
POST 200 /sandbox/{sandboxIdOrName}/ttl/{ttlMinutes} | Set ttl
POST 201 /sandbox/{sandboxId}/last-activity | Update last activity
GET 200 /sandbox/{sandboxId}/organization | Get organization by sandbox id
GET 200 /sandbox/{sandboxId}/region-quota | Get region quota by sandbox id
GET 200 /sandbox/{sandboxId}/secrets | Resolve sandbox secrets
GET 200 /sandbox/{sandboxId}/signing-key | Get sandbox signing key
POST 200 /sandbox/{sandboxId}/signing-key/rotate | Rotate signing key
PUT 200 /sandbox/{sandboxId}/state | Update sandbox state
GET 200 /sandbox/{sandboxId}/telemetry/logs?from,to,page,limit,severities,search | Get sandbox logs
GET 200 /sandbox/{sandboxId}/telemetry/metrics?from,to,metricNames | Get sandbox metrics
GET 200 /sandbox/{sandboxId}/telemetry/traces?from,to,page,limit | Get sandbox traces
GET 200 /sandbox/{sandboxId}/telemetry/traces/{traceId} | Get sandbox trace spans
GET 200 /sandbox/{sandboxId}/toolbox-proxy-url | Get toolbox proxy URL
GET 200 /secret | List secrets
POST 201 /secret | Create secret
GET 200 /secret/paginated?cursor,limit,name,sort,order | List secrets paginated
GET 200 /secret/{secretId} | Get secret
PATCH 200 /secret/{secretId} | Update secret
DELETE 204 /secret/{secretId} | Delete secret
GET 200 /shared-regions | List shared regions
GET 200 /snapshots?page,limit,name,sourceSandboxId,sort,order | Snapshots, page by page
POST 200 /snapshots | Create snapshot
GET 200 /snapshots/{id} | Get snapshot
DELETE 200 /snapshots/{id} | Remove snapshot
POST 200 /snapshots/{id}/activate | Activate snapshot
GET 200 /snapshots/{id}/build-logs?follow | Get snapshot build logs
GET 200 /snapshots/{id}/build-logs-url | Get snapshot build logs URL
POST 204 /snapshots/{id}/deactivate | Deactivate snapshot
GET 200 /users/account-providers | Get account providers
POST 204 /users/linked-accounts | Link account
GET 200 /users/me | Get authenticated user
POST 204 /users/me/logins | Record login
GET 200 /users/me/pending-sso-links | List pending SSO links
DELETE 204 /users/me/pending-sso-links/{id} | Dismiss pending SSO link
POST 204 /users/me/pending-sso-links/{id}/confirm | Confirm pending SSO link
POST 204 /users/privacy-policies/accept | Accept privacy policies
GET 200 /volumes?includeDeleted | List volumes
POST 200 /volumes | Create volume
GET 200 /volumes/by-name/{name} | Get volume by name
GET 200 /volumes/{volumeId} | Get volume
DELETE 200 /volumes/{volumeId} | Delete volume
GET 200 /warm-pools | List warm pools
POST 201 /warm-pools | Create warm pool
PATCH 200 /warm-pools/{id} | Update warm pool
DELETE 204 /warm-pools/{id} | Delete warm pool
POST 200 /webhooks/organizations/{organizationId}/app-portal-access | Get app portal access
GET 200 /webhooks/organizations/{organizationId}/initialization-status | Get initialization status
POST 201 /webhooks/organizations/{organizationId}/initialize | Initialize webhooks
POST 204 /webhooks/organizations/{organizationId}/refresh-endpoints | Refresh endpoints
"""
"""Below the control API's base, as clients of version 0.226 know it."""

TOOLBOX = """\
POST 200 /computeruse/a11y/find | Find accessibility nodes
POST 200 /computeruse/a11y/node/focus | Focus accessibility node
POST 200 /computeruse/a11y/node/invoke | Invoke accessibility node
POST 200 /computeruse/a11y/node/value | Set accessibility node value
GET 200 /computeruse/a11y/tree?scope,pid,maxDepth | Get accessibility tree
GET 200 /computeruse/display/info | Get display info
GET 200 /computeruse/display/windows | Get windows
POST 200 /computeruse/keyboard/down | Key down
POST 200 /computeruse/keyboard/hotkey | Press hotkey
POST 200 /computeruse/keyboard/key | Press key
POST 200 /computeruse/keyboard/type | Type text
POST 200 /computeruse/keyboard/up | Key up
POST 200 /computeruse/mouse/click | Click
POST 200 /computeruse/mouse/down | Mouse down
POST 200 /computeruse/mouse/drag | Drag
POST 200 /computeruse/mouse/move | Move mouse
GET 200 /computeruse/mouse/position | Get mouse position
POST 200 /computeruse/mouse/scroll | Scroll
POST 200 /computeruse/mouse/up | Mouse up
GET 200 /computeruse/process-status | Get computer use status
GET 200 /computeruse/process/{processName}/errors | Get process errors
GET 200 /computeruse/process/{processName}/logs | Get process logs
POST 200 /computeruse/process/{processName}/restart | Restart process
GET 200 /computeruse/process/{processName}/status | Get process status
GET 200 /computeruse/recordings | List recordings
POST 201 /computeruse/recordings/start | Start recording
POST 200 /computeruse/recordings/stop | Stop recording
GET 200 /computeruse/recordings/{id} | Get recording
DELETE 204 /computeruse/recordings/{id} | Delete recording
GET 200 /computeruse/recordings/{id}/download | Download recording
GET 200 /computeruse/screenshot?showCursor | Take screenshot
GET 200 /computeruse/screenshot/compressed?showCursor,format,quality,scale | Take compressed screenshot
GET 200 /computeruse/screenshot/region?x,y,width,height,showCursor | Take region screenshot
GET 200 /computeruse/screenshot/region/compressed?x,y,width,height,showCursor,format,quality,scale \
| Take compressed region screenshot
POST 200 /computeruse/start | Start computer use
GET 200 /computeruse/status | Get computer use system status
POST 200 /computeruse/stop | Stop computer use
POST 200 /env | Update env
GET 200 /files?path,depth | List files
DELETE 204 /files?path,recursive | Delete file
POST 200 /files/bulk-download | Download files
POST 200 /files/bulk-upload | Upload files
GET 200 /files/download?path | Download file
GET 200 /files/find?path,pattern | Find in files
POST 201 /files/folder?path,mode | Create folder
GET 200 /files/info?path | Get file info
POST 200 /files/move?source,destination | Move file
POST 200 /files/permissions?path,owner,group,mode | Set file permissions
POST 200 /files/replace | Replace in files
GET 200 /files/search?path,pattern | Search files
POST 200 /files/upload-v2?path | Upload file
POST 200 /git/add | Add files
GET 200 /git/branches?path | List branches
POST 201 /git/branches | Create branch
DELETE 204 /git/branches | Delete branch
POST 200 /git/checkout | Checkout branch
POST 200 /git/clone | Clone repository
POST 200 /git/commit | Commit changes
GET 200 /git/config?key,path,scope | Get git config
POST 200 /git/config | Set git config
POST 200 /git/config/user | Configure user
POST 200 /git/credentials | Authenticate
GET 200 /git/history?path | Get commit history
POST 201 /git/init | Init repository
POST 200 /git/pull | Pull changes
POST 200 /git/push | Push changes
GET 200 /git/remotes?path | List remotes
POST 201 /git/remotes | Add remote
POST 200 /git/reset | Reset changes
POST 200 /git/restore | Restore files
GET 200 /git/status?path | Get status
POST 200 /init | Initialize
POST 200 /lsp/completions | Completions
POST 200 /lsp/did-close | Did close
POST 200 /lsp/did-open | Did open
GET 200 /lsp/document-symbols?languageId,pathToProject,uri | Document symbols
POST 200 /lsp/start | Start
POST 200 /lsp/stop | Stop
GET 200 /lsp/workspacesymbols?query,languageId,pathToProject | Workspace symbols
GET 200 /port | Get ports
GET 200 /port/{port}/in-use | Is port in use
POST 200 /process/code-run | Code run
POST 200 /process/execute | Execute command
GET 200 /process/interpreter/context | List interpreter contexts
POST 200 /process/interpreter/context | Create interpreter context
DELETE 200 /process/interpreter/context/{id} | Delete interpreter context
GET 101 /process/interpreter/execute | Run code in an interpreter context (WebSocket)
GET 200 /process/pty | List terminal sessions
POST 201 /process/pty | Create terminal session
GET 200 /process/pty/{sessionId} | Get terminal session
DELETE 200 /process/pty/{sessionId} | Delete terminal session
GET 101 /process/pty/{sessionId}/connect | Attach to a terminal (WebSocket)
POST 200 /process/pty/{sessionId}/resize | Resize terminal session
GET 200 /process/session | List sessions
POST 201 /process/session | Create session
GET 200 /process/session/entrypoint | Get entrypoint session
GET 200 /process/session/entrypoint/logs?follow | Get entrypoint logs
GET 200 /process/session/{sessionId} | Get session
DELETE 204 /process/session/{sessionId} | Delete session
GET 200 /process/session/{sessionId}/command/{commandId} | Get session command
POST 204 /process/session/{sessionId}/command/{commandId}/input | Send input
GET 200 /process/session/{sessionId}/command/{commandId}/logs?follow | Get session command logs
POST 200/202 /process/session/{sessionId}/exec | Session execute command
GET 200 /system/metrics | Get system metrics
GET 200 /user-home-dir | Get user home dir
GET 200 /version | Get version
GET 200 /work-dir | Get work dir
"""
"""Below a sandbox's toolbox, as clients of version 0.226 know it."""

OLDER_CONTROL = """\
GET 200 /audit?page,limit | Get all audit logs
POST 201 /audit | Create audit log
POST 200 /docker-registry/{id}/set-default | Set default registry
GET 200 /organizations/by-sandbox-id/{sandboxId} | Get organization by sandbox id
PATCH 200 /organizations/{organizationId}/quota | Update organization quota
POST 204 /organizations/{organizationId}/sandbox-default-limited-network-egress \
| Update sandbox default limited network egress
POST 204 /organizations/{organizationId}/suspend | Suspend organization
POST 204 /organizations/{organizationId}/unsuspend | Unsuspend organization
GET 200 /sandbox/paginated?page,limit,id,name,labels,includeErroredDeleted,states,snapshots,regions,minCpu,\
maxCpu,minMemoryGiB,maxMemoryGiB,minDiskGiB,maxDiskGiB,lastEventAfter,lastEventBefore,sort,order \
| List sandboxes paginated
GET 200 /sandbox/regions | Get sandbox regions
GET 200 /snapshots/can-cleanup-image?imageName | Can cleanup image
PATCH 200 /snapshots/{id}/general | Set snapshot general status
GET 200 /users | List users
POST 201 /users | Create user
DELETE 204 /users/linked-accounts/{provider}/{providerUserId} | Unlink account
POST 200 /users/mfa/sms/enroll | Enroll in SMS MFA
GET 200 /users/{id} | Get user
POST 201 /users/{id}/regenerate-key-pair | Regenerate key pair
GET 200 /webhooks/organizations/{organizationId}/messages/{messageId}/attempts | Get message attempts
POST 200 /webhooks/organizations/{organizationId}/send | Send webhook
GET 200 /webhooks/status | Get status
"""
"""Below the control API's base, known to clients of 0.110 only."""

OLDER_TOOLBOX = """\
POST 200 /files/upload?path | Store one file from a form
GET 200 /lsp/workspace-symbols?query,languageId,pathToProject | Symbols of a project
GET 200 /project-dir | The directory in which commands run
"""
"""Below a sandbox's toolbox, known to clients of 0.110 only."""

_LINE = re.compile(
    r"(?P<method>[A-Z]+) (?P<status>[0-9/]+) (?P<path>[^ ?]+)(\?(?P<query>[^ ]+))? \| (?P<summary>.+)"
)
_PARAMETER = re.compile(r"{([^}:]*)(:[^}]*)?}")


@dataclass(frozen=True)
class Endpoint:
    """One thing a client can ask for."""

    area: str
    """control or toolbox."""
    method: str
    path: str
    statuses: tuple[int, ...]
    """Which clients take for success; 101: a WebSocket."""
    query: tuple[str, ...]
    summary: str
    is_older: bool
    """Whether new clients do not know it any more."""

    @property
    def shape(self) -> tuple[str, str, str]:
        """What two endpoints have in common that are the same but for the names of parameters in the path."""
        return self.area, self.method, shape(self.path)


def shape(path: str) -> str:
    """A path template without the names of its parameters."""
    return _PARAMETER.sub("{}", path)


@functools.cache
def endpoints() -> tuple[Endpoint, ...]:
    """All of them, in the order of their paths."""
    parts = (
        ("control", CONTROL, False),
        ("control", OLDER_CONTROL, True),
        ("toolbox", TOOLBOX, False),
        ("toolbox", OLDER_TOOLBOX, True),
    )
    return tuple(
        _endpoint(area, line, is_older) for area, text, is_older in parts for line in text.splitlines()
    )


def _endpoint(area: str, line: str, is_older: bool) -> Endpoint:
    found = _LINE.fullmatch(line)
    assert found is not None, line
    query = tuple(found["query"].split(",")) if found["query"] else ()
    statuses = tuple(map(int, found["status"].split("/")))
    return Endpoint(area, found["method"], found["path"], statuses, query, found["summary"], is_older)
