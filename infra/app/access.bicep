// Roles on the secrets and keys of one vault, in batches: a template holds 800 resources at most, a nested one counts for itself.

param vaultName string
param principalId string
param readRoleId string
param writeRoleId string
@description('Names of the secrets that the identity only reads.')
param readableSecrets array
@description('Names of the secrets that the identity reads and writes.')
param writableSecrets array
@description('One role on the vault instead: it reads and writes every secret there.')
param wholeVault bool
param signRoleId string = ''
@description('Names of the keys that sign.')
param signingKeys array = []

var batchSize = 700
var grants = concat(
  map(readableSecrets, name => { secret: name, role: readRoleId }),
  map(writableSecrets, name => { secret: name, role: writeRoleId })
)

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName
}

module batch 'roles.bicep' = [
  for index in range(0, wholeVault ? 0 : (length(grants) + batchSize - 1) / batchSize): {
    params: {
      vaultName: vaultName
      principalId: principalId
      grants: take(skip(grants, index * batchSize), batchSize)
    }
  }
]

resource writer 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (wholeVault) {
  name: guid(vault.id, principalId, writeRoleId)
  scope: vault
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: writeRoleId
  }
}

resource key 'Microsoft.KeyVault/vaults/keys@2026-02-01' existing = [
  for name in signingKeys: {
    parent: vault
    name: name
  }
]

resource signer 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in signingKeys: {
    name: guid(vault.id, 'keys', name, principalId, signRoleId)
    scope: key[index]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: signRoleId
    }
  }
]

output vaultUri string = vault.properties.vaultUri
