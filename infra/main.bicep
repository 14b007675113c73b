// Everything that the refresher needs in Azure, in one resource group. `azd up` deploys it; docs/azure.md explains it.
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of the azd environment; part of the resource group\'s name.')
param environmentName string
@description('Azure region.')
param location string

@description('Object id of the person or service principal that deploys, who may then put secrets into the vault and take the lease; empty: nobody.')
param principalId string = ''
@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'User'

@description('Name of a Key Vault that is already there, with Azure RBAC; empty: a new one.')
param keyVaultName string = ''
@description('Its resource group; empty: the refresher\'s own.')
param keyVaultResourceGroup string = ''
@description('Name of Simple Chat\'s own Key Vault; empty: nothing is published there.')
param simpleChatVaultName string = ''
@description('Its subscription; empty: this one.')
param simpleChatVaultSubscription string = ''
@description('Its resource group; empty: the refresher\'s own.')
param simpleChatVaultResourceGroup string = ''
@description('Secrets of Simple Chat\'s vault that receive the access token: their names, with commas between.')
param simpleChatTargets string = ''
@description('Secrets of the refresher\'s own vault that receive the access token beside NAME-oauth-token, with commas between. Of several connections: those that their publish_to names.')
param publishedTargets string = 'servicenow--action--global--oauth-token'

@description('Https origin of the ServiceNow instance; not needed where connections are given.')
param instanceUrl string = ''
@description('Several connections: an object, name to keys (docs/settings.md).')
param connections object = {}
@allowed(['secret', 'vault'])
@description('Where the app has its roles in the refresher\'s vault: on each secret that it needs, or, for more connections than a subscription has role assignments, on all secrets of the vault.')
param roleScope string = 'secret'
@allowed(['refresh_token', 'client_credentials', 'jwt_bearer', 'password', 'entra_id'])
param grant string = 'refresh_token'
@allowed(['', 'client_credentials', 'jwt_bearer', 'password', 'entra_id'])
param fallbackGrant string = ''
@description('Seconds that a refresh token lives, as set on the OAuth application.')
param refreshTokenLifetime int = 8640000
@description('Scope of the grant entra_id: APPLICATION/.default or an api:// URI.')
param entraScope string = ''
@description('Client id of an application that trusts the app\'s identity; with its tenant, or neither.')
param entraClientId string = ''
@description('Tenant id of that application.')
param entraTenantId string = ''
@description('Claims of the JWT bearer grant: an object. The key is a secret of the vault, or by key_identifier a key that signs there.')
param jwt object = {}
@description('The tick: six fields, UTC.')
param refreshSchedule string = '0 */5 * * * *'
@description('Age, in minutes, at which a token is refreshed.')
param refreshIntervalMinutes int = 50
@description('Path asked with a new token before it is published; empty: none.')
param probePath string = '/api/now/table/sys_user?sysparm_query=user_name=javascript:gs.getUserName()&sysparm_fields=user_name&sysparm_limit=1'
@description('Minutes between two trials of the stored token at its instance; empty: each tick; 0: never.')
param verifyIntervalMinutes string = ''
@description('Permits instance hosts outside of ServiceNow\'s own domains.')
param allowCustomHost bool = false
@description('Name of a storage queue that spreads the connections over instances; empty: one run does all.')
param refreshQueue string = ''

@description('The timer fires no longer; calls and commands go on.')
param refreshPaused bool = false

@description('Address that the alerts are mailed to; empty: none.')
param alertEmail string = ''
@description('Resource id of an action group that is already there; empty: none.')
param actionGroupId string = ''
@description('Where the runbook can be read (https); empty: alerts name the page, and have no link.')
param runbookUrl string = ''
@description('Resource id of a Log Analytics workspace that is already there; empty: a new one.')
param existingWorkspaceId string = ''
@description('Days that events are kept, in a new workspace.')
param logRetentionDays int = 90
@secure()
@description('A function key of status, with which Application Insights asks it from outside; empty: it does not.')
param statusKey string = ''

@description('Private endpoints, and no public way to vault and storage.')
param privateNetwork bool = false
@description('A network that is already there: id of the subnet that the app goes out by, delegated to its plan; empty: a new network where one is needed.')
param appSubnetId string = ''
@description('Id of the subnet for private endpoints, in the same network.')
param endpointSubnetId string = ''
@description('Id of the resource group of private DNS zones that are already there and linked to that network; empty: new zones.')
param privateDnsZonesGroupId string = ''
@description('One address that all calls of the app come from: a NAT gateway in the new network.')
param fixedAddress bool = false
@allowed(['public', 'private'])
@description('Who reaches the functions: everybody with a key, or the network alone.')
param appAccess string = 'public'
@description('Addresses and ranges that may call the functions, with commas between; empty: all.')
param allowedAddresses string = ''
@description('Client id of an application of Entra, in whose name people sign in before they call the functions; empty: their keys alone.')
param signInClientId string = ''
@description('Object id of a group that is on call: names and dates of secrets, no values, the leases, the app\'s settings, and the functions.')
param onCallGroupId string = ''
@description('Built-in roles in place of the project\'s own, which say less and allow more.')
param builtInRoles bool = false

@allowed(['Dedicated', 'FlexConsumption'])
@description('Dedicated where a cloud has no Flex Consumption.')
param hostingPlan string = 'FlexConsumption'
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
@description('Replication of the storage account; Standard_LRS in a region without zones.')
param storageSku string = 'Standard_ZRS'
@description('Instances in several zones, in a region that has them.')
param zoneRedundant bool = false
@description('Name of the resource group; empty: rg- and the environment\'s.')
param resourceGroupName string = ''
@description('Tags of every resource.')
param extraTags object = {}

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = union(extraTags, { 'azd-env-name': environmentName })
var deploymentContainer = 'deployments'
var leaseContainer = 'leases'
var targetSuffix = '--action--global--oauth-token'

// What is wrong with the parameters is said all at once, before anything is made; what only Azure knows, it says later.
var letters = 'abcdefghijklmnopqrstuvwxyz'
var lowerCase = '${letters}0123456789-'
var secretNameCharacters = '${lowerCase}${toUpper(letters)}'
var strangeInEnvironmentName = filter(
  range(0, length(environmentName)),
  at => !contains('${secretNameCharacters}_.()', substring(environmentName, at, 1))
)
var severalConnections = items(connections)
// The single connection has a name as well.
var connectionNames = empty(severalConnections) ? ['servicenow'] : map(severalConnections, each => each.key)
var described = empty(severalConnections)
  ? [{ name: 'servicenow', grants: [grant, fallbackGrant], jwt: jwt }]
  : map(severalConnections, each => {
      name: each.key
      grants: [each.value.?grant ?? 'refresh_token', each.value.?fallback_grant ?? '']
      jwt: json(string(each.value.?jwt ?? {}))
    })
// The longest time between two ticks, of the schedules that the code accepts; of any other, as the code does, of the default.
var minuteTexts = concat(map(range(0, 60), at => string(at)), map(range(0, 10), at => '0${at}'))
var minuteField = startsWith(refreshSchedule, '0 ') && endsWith(refreshSchedule, ' * * * *') && length(refreshSchedule) > 10
  ? substring(refreshSchedule, 2, max(0, length(refreshSchedule) - 10))
  : ''
var listedMinutes = split(minuteField, ',')
var isList = empty(filter(listedMinutes, each => !contains(minuteTexts, each)))
var startAndStep = split(minuteField, '/')
var isStep = length(startAndStep) == 2 && contains(concat(['*'], minuteTexts), startAndStep[0]) && contains(
  minuteTexts,
  last(startAndStep)
) && !contains(['0', '00'], last(startAndStep))
var start = isStep && startAndStep[0] != '*' ? int(startAndStep[0]) : 0
var step = isStep ? int(last(startAndStep)) : 5
var listed = isList ? map(listedMinutes, each => int(each)) : []
var ticks = filter(range(0, 60), at => isList ? contains(listed, at) : at >= start && (at - start) % step == 0)
var tickMinutes = max(map(
  range(0, length(ticks)),
  at => (at + 1 < length(ticks) ? ticks[at + 1] : ticks[0] + 60) - ticks[at]
))
// Neither the app's own identity nor the key of a public client needs a client secret, nor what goes with one.
var withApplication = map(
  filter(
    described,
    each =>
      !empty(filter(
        each.grants,
        one =>
          !empty(one) && one != 'entra_id' && (one != 'jwt_bearer' || toLower(string(each.jwt.?public_client ?? false)) != 'true')
      ))
  ),
  each => each.name
)
var byKeyAlone = filter(described, each => contains(each.grants, 'jwt_bearer') && !contains(withApplication, each.name))
// Keys of the refresher's own vault get a role here; of another vault, from whoever keeps it.
var signingKeys = union(
  map(
    filter(
      map(
        filter(described, each => contains(each.grants, 'jwt_bearer')),
        each => toLower(string(each.jwt.?key_identifier ?? ''))
      ),
      identifier => startsWith(identifier, 'https://${toLower(vaultName)}.')
    ),
    identifier => split(identifier, '/')[4]
  ),
  []
)
// A connection publishes to what its publish_to lists, a list or a text with commas, else to a secret of its own name.
var publishTo = flatten(map(
  severalConnections,
  each =>
    contains(each.value, 'publish_to')
      ? split(replace(replace(replace(string(each.value.publish_to), '[', ''), ']', ''), '"', ''), ',')
      : ['${each.key}${targetSuffix}']
))
// The parameter's default is the single connection's.
var listedTargets = (empty(severalConnections) || trim(publishedTargets) != 'servicenow${targetSuffix}')
  ? split(publishedTargets, ',')
  : []
var targets = filter(map(concat(listedTargets, publishTo), target => trim(target)), target => !empty(target))
// Of targets in other vaults, only those in Simple Chat's are known here.
var ownTargets = union(filter(targets, target => !startsWith(target, 'https://')), [])
var listedChatTargets = filter(map(split(simpleChatTargets, ','), target => trim(target)), target => !empty(target))
var chatTargets = union(
  listedChatTargets,
  map(
    filter(targets, target => startsWith(target, 'https://${simpleChatVaultName}.')),
    target => last(split(target, '/'))
  )
)
var publishedTo = join(
  concat(ownTargets, map(listedChatTargets, target => 'https://${simpleChatVaultName}{suffix}/secrets/${target}')),
  ','
)
var callers = filter(map(split(allowedAddresses, ','), each => trim(each)), each => !empty(each))
// Asked first, so that only then the name of the group hangs on whether there is a secret.
var hasNarrowDoor = appAccess == 'private' || !empty(callers) || !empty(signInClientId)
var problems = concat(
  (empty(strangeInEnvironmentName) && !endsWith(environmentName, '.'))
    ? []
    : [
        'AZURE_ENV_NAME: "${environmentName}" becomes part of a resource group\'s name: letters, digits and -_.() only, no full stop at its end.'
      ],
  (empty(instanceUrl) && empty(severalConnections))
    ? ['SERVICENOW_INSTANCE_URL: give the https origin of the instance, or several connections.']
    : [],
  map(
    filter(
      connectionNames,
      name =>
        empty(name) || length(name) > 41 || !contains(letters, take(name, 1)) || !empty(filter(
          range(0, length(name)),
          at => !contains(lowerCase, substring(name, at, 1))
        ))
    ),
    name =>
      'SERVICENOW_CONNECTIONS: "${name}" is no name of a connection: a lower-case letter, then at most 40 lower-case letters, digits and hyphens.'
  ),
  map(
    filter(
      concat(ownTargets, chatTargets),
      target =>
        length(target) > 127 || !empty(filter(
          range(0, length(target)),
          at => !contains(secretNameCharacters, substring(target, at, 1))
        ))
    ),
    target =>
      'PUBLISHED_SECRETS, SIMPLE_CHAT_SECRETS: "${target}" is no name of a secret: at most 127 letters, digits and hyphens, with commas between two names.'
  ),
  empty(chatTargets) == empty(simpleChatVaultName)
    ? []
    : [
        'SIMPLE_CHAT_VAULT, SIMPLE_CHAT_SECRETS: a vault and the names of its secrets belong together; one of the two is missing.'
      ],
  empty(appSubnetId) == empty(endpointSubnetId)
    ? []
    : ['APP_SUBNET_ID, ENDPOINT_SUBNET_ID: an existing network needs both; one of the two is missing.'],
  (fixedAddress && !empty(appSubnetId))
    ? ['FIXED_ADDRESS: an existing network goes out by the gateway that its owner gives it; leave this out.']
    : [],
  (hasNarrowDoor ? !empty(statusKey) : false)
    ? [
        'STATUS_KEY: the witness asks from public addresses, and signs in nowhere: leave this out, or APP_ACCESS, ALLOWED_ADDRESSES and SIGN_IN_CLIENT_ID.'
      ]
    : []
)
var groupName = !empty(problems)
  ? fail(join(problems, ' '))
  : (empty(resourceGroupName) ? '${abbreviations.resourceGroup}${environmentName}' : resourceGroupName)

// Without an address that can be read, a mail names the file.
var runbook = empty(runbookUrl) ? 'docs/runbook' : runbookUrl
var aboutRunbook = empty(runbookUrl) ? 'RUNBOOK_URL is not set; in the project: ' : ''
var readSuffixes = ['client-id', 'client-secret', 'username', 'password', 'jwt-key']
var writtenSuffixes = ['oauth-token', 'refresh-record']
var withNetwork = privateNetwork || fixedAddress || appAccess == 'private' || !empty(appSubnetId)
var chatSubscription = empty(simpleChatVaultSubscription) ? subscription().subscriptionId : simpleChatVaultSubscription
// Roles of the project can be assigned where they are known: here, and in Simple Chat's subscription.
var assignableScopes = union([subscription().id], ['/subscriptions/${chatSubscription}'])
var builtIn = {
  read: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')
  keep: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7')
  sign: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '12338af0-0e69-4776-bea7-57ae8d297424')
  call: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'de139f84-1756-47ae-9be6-808fbbe84772')
}
var readRoleId = builtInRoles ? builtIn.read : secretReader.id
var keepRoleId = builtInRoles ? builtIn.keep : secretWriter.id
var signRoleId = empty(signingKeys) ? '' : (builtInRoles ? builtIn.sign : keySigner.id)
var callRoleId = builtInRoles ? builtIn.call : functionCaller.id
var hasOwnVault = empty(keyVaultName)
var vaultName = hasOwnVault ? '${abbreviations.keyVault}${token}' : keyVaultName
var vaultGroup = (hasOwnVault || empty(keyVaultResourceGroup)) ? group.name : keyVaultResourceGroup

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: tags
}

// Built-in roles can either not write secrets or also delete and purge them.
resource secretReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (!builtInRoles) {
  name: guid(subscription().id, environmentName, 'secret-reader')
  properties: {
    roleName: 'ServiceNow token refresher: read a secret (${environmentName}, ${token})'
    description: 'Reads the value of the secret that it is assigned on.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: ['Microsoft.KeyVault/vaults/secrets/getSecret/action']
        notDataActions: []
      }
    ]
  }
}

resource secretWriter 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (!builtInRoles) {
  name: guid(subscription().id, environmentName, 'secret-writer')
  properties: {
    roleName: 'ServiceNow token refresher: keep a secret (${environmentName}, ${token})'
    description: 'Reads, writes and recovers the secret that it is assigned on; cannot delete or purge it.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/secrets/getSecret/action'
          'Microsoft.KeyVault/vaults/secrets/readMetadata/action'
          'Microsoft.KeyVault/vaults/secrets/recover/action'
          'Microsoft.KeyVault/vaults/secrets/setSecret/action'
          'Microsoft.KeyVault/vaults/secrets/update/action'
        ]
        notDataActions: []
      }
    ]
  }
}

resource keySigner 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (!builtInRoles && !empty(signingKeys)) {
  name: guid(subscription().id, environmentName, 'key-signer')
  properties: {
    roleName: 'ServiceNow token refresher: sign with a key (${environmentName}, ${token})'
    description: 'Reads the public half of the key that it is assigned on, and signs with it.'
    type: 'CustomRole'
    assignableScopes: [subscription().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/keys/read'
          'Microsoft.KeyVault/vaults/keys/sign/action'
        ]
        notDataActions: []
      }
    ]
  }
}

resource functionCaller 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (!builtInRoles && !empty(onCallGroupId)) {
  name: guid(subscription().id, environmentName, 'function-caller')
  properties: {
    roleName: 'ServiceNow token refresher: call the functions (${environmentName}, ${token})'
    description: 'Reads the settings and the functions\' keys of the app that it is assigned on, and changes nothing.'
    type: 'CustomRole'
    assignableScopes: [subscription().id]
    permissions: [
      {
        actions: [
          'Microsoft.Web/sites/read'
          'Microsoft.Web/sites/config/read'
          'Microsoft.Web/sites/config/list/action'
          'Microsoft.Web/sites/functions/read'
          'Microsoft.Web/sites/functions/listkeys/action'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
  }
}

module identity 'app/identity.bicep' = {
  scope: group
  params: {
    name: '${abbreviations.userAssignedIdentity}${token}'
    location: location
    tags: tags
  }
}

module monitoring 'app/monitoring.bicep' = {
  scope: group
  params: {
    existingWorkspaceId: existingWorkspaceId
    workspaceName: '${abbreviations.logAnalyticsWorkspace}${token}'
    applicationInsightsName: '${abbreviations.applicationInsights}${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    retentionInDays: logRetentionDays
  }
}

module storage 'app/storage.bicep' = {
  scope: group
  params: {
    name: '${abbreviations.storageAccount}${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    operatorId: principalId
    operatorType: principalType
    deploymentContainer: deploymentContainer
    leaseContainer: leaseContainer
    refreshQueue: refreshQueue
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    sku: storageSku
  }
}

module vault 'app/vault.bicep' = if (hasOwnVault) {
  scope: group
  params: {
    name: vaultName
    location: location
    tags: tags
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    logAnalyticsWorkspaceId: monitoring.outputs.workspaceId
  }
}

module access 'app/access.bicep' = {
  scope: resourceGroup(vaultGroup)
  params: {
    vaultName: vaultName
    principalId: identity.outputs.principalId
    readRoleId: readRoleId
    writeRoleId: keepRoleId
    readableSecrets: concat(
      flatten(map(withApplication, name => map(readSuffixes, suffix => '${name}-${suffix}'))),
      map(byKeyAlone, each => '${each.name}-client-id'),
      map(filter(byKeyAlone, each => empty(each.jwt.?key_identifier ?? '')), each => '${each.name}-jwt-key')
    )
    writableSecrets: concat(
      map(withApplication, name => '${name}-refresh-token'),
      flatten(map(connectionNames, name => map(writtenSuffixes, suffix => '${name}-${suffix}'))),
      ownTargets
    )
    wholeVault: roleScope == 'vault'
    signRoleId: signRoleId
    signingKeys: signingKeys
  }
  dependsOn: [vault]
}

module simpleChatAccess 'app/access.bicep' = if (!empty(simpleChatVaultName)) {
  scope: resourceGroup(chatSubscription, empty(simpleChatVaultResourceGroup) ? groupName : simpleChatVaultResourceGroup)
  params: {
    vaultName: simpleChatVaultName
    principalId: identity.outputs.principalId
    readRoleId: readRoleId
    writeRoleId: keepRoleId
    readableSecrets: []
    writableSecrets: chatTargets
    wholeVault: false
  }
}

module operator 'app/operator.bicep' = if (hasOwnVault && !empty(principalId)) {
  scope: resourceGroup(vaultGroup)
  params: {
    vaultName: vaultName
    operatorId: principalId
    operatorType: principalType
  }
  dependsOn: [vault]
}

module network 'app/network.bicep' = if (withNetwork) {
  scope: group
  params: {
    name: '${abbreviations.virtualNetwork}${token}'
    endpointPrefix: '${abbreviations.privateEndpoint}${token}-'
    location: location
    tags: tags
    vaultId: resourceId(subscription().subscriptionId, vaultGroup, 'Microsoft.KeyVault/vaults', vaultName)
    storageAccountId: storage.outputs.accountId
    existingAppSubnetId: appSubnetId
    existingEndpointSubnetId: endpointSubnetId
    existingZonesId: privateDnsZonesGroupId
    delegation: hostingPlan == 'FlexConsumption' ? 'Microsoft.App/environments' : 'Microsoft.Web/serverFarms'
    withEndpoints: privateNetwork
    withFixedAddress: fixedAddress
  }
  dependsOn: [vault]
}

module api 'app/api.bicep' = {
  scope: group
  params: {
    name: '${abbreviations.functionApp}${token}'
    planName: '${abbreviations.plan}${token}'
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    applicationInsightsConnectionString: monitoring.outputs.connectionString
    hostingPlan: hostingPlan
    storageAccountName: storage.outputs.accountName
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    deploymentContainerUrl: storage.outputs.deploymentContainerUrl
    subnetId: network.?outputs.appSubnetId ?? ''
    keyVaultUrl: access.outputs.vaultUri
    instanceUrl: instanceUrl
    connections: empty(connections) ? '' : string(connections)
    grant: grant
    fallbackGrant: fallbackGrant
    refreshTokenLifetime: refreshTokenLifetime
    entraScope: entraScope
    entraClientId: entraClientId
    entraTenantId: entraTenantId
    jwt: empty(jwt) ? '' : string(jwt)
    publishTo: replace(publishedTo, '{suffix}', environment().suffixes.keyvaultDns)
    refreshSchedule: refreshSchedule
    refreshIntervalMinutes: refreshIntervalMinutes
    probePath: probePath
    verifyIntervalMinutes: verifyIntervalMinutes
    leaseContainerUrl: storage.outputs.leaseContainerUrl
    allowCustomHost: allowCustomHost
    refreshQueue: refreshQueue
    refreshPaused: refreshPaused
    privateDoor: appAccess == 'private'
    allowedAddresses: callers
    signInClientId: signInClientId
  }
}

module door 'app/door.bicep' = if (appAccess == 'private') {
  scope: group
  params: {
    name: '${abbreviations.privateEndpoint}${token}-app'
    linkName: '${abbreviations.virtualNetwork}${token}'
    location: location
    tags: tags
    appId: api.outputs.id
    hostName: api.outputs.hostName
    subnetId: network!.outputs.endpointSubnetId
    networkId: network!.outputs.networkId
    existingZonesId: privateDnsZonesGroupId
  }
}

module onCall 'app/on-call.bicep' = if (!empty(onCallGroupId)) {
  scope: group
  params: {
    vaultName: vaultName
    appName: api.outputs.name
    storageAccountName: storage.outputs.accountName
    leaseContainer: leaseContainer
    groupId: onCallGroupId
    callRoleId: callRoleId
    hasOwnVault: hasOwnVault
  }
  dependsOn: [vault]
}

module availability 'app/availability.bicep' = if (!empty(statusKey)) {
  scope: group
  params: {
    name: 'status-${token}'
    location: location
    tags: tags
    componentId: monitoring.outputs.componentId
    url: api.outputs.url
    statusKey: statusKey
    runbook: runbook
    aboutRunbook: aboutRunbook
    actionGroupIds: concat(
      empty(alertEmail) ? [] : [actionGroup!.outputs.id],
      empty(actionGroupId) ? [] : [actionGroupId]
    )
  }
}

module actionGroup 'app/action-group.bicep' = if (!empty(alertEmail)) {
  scope: group
  params: {
    name: '${abbreviations.actionGroup}${token}'
    tags: tags
    email: alertEmail
  }
}

module alerts 'app/alerts.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    componentId: monitoring.outputs.componentId
    silenceMinutes: 2 * tickMinutes
    refreshIntervalMinutes: refreshIntervalMinutes
    actionGroupIds: concat(
      empty(alertEmail) ? [] : [actionGroup!.outputs.id],
      empty(actionGroupId) ? [] : [actionGroupId]
    )
    runbook: runbook
    aboutRunbook: aboutRunbook
  }
}

module workbook 'app/workbook.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    componentId: monitoring.outputs.componentId
  }
}

// The address that ServiceNow sees, where it is a fixed one.
output OUTGOING_ADDRESS string = network.?outputs.outgoingAddress ?? ''
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_APP_NAME string = api.outputs.name
output AZURE_FUNCTION_APP_URL string = api.outputs.url
output AZURE_KEY_VAULT_NAME string = vaultName
// What the command line needs on a laptop: `azd env get-values` prints it.
output KEY_VAULT_URL string = access.outputs.vaultUri
output LEASE_CONTAINER_URL string = storage.outputs.leaseContainerUrl
