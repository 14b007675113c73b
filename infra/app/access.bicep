// Roles on single secrets of one vault. A scope is a name: neither the template nor a role needs the secret's value.

param vaultName string
param principalId string
param readRoleId string
param writeRoleId string
@description('Names of the secrets that the identity only reads.')
param readableSecrets array
@description('Names of the secrets that the identity reads and writes.')
param writableSecrets array

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

resource readable 'Microsoft.KeyVault/vaults/secrets@2023-07-01' existing = [for secretName in readableSecrets: {
  parent: vault
  name: secretName
}]

resource writable 'Microsoft.KeyVault/vaults/secrets@2023-07-01' existing = [for secretName in writableSecrets: {
  parent: vault
  name: secretName
}]

resource readers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (secretName, index) in readableSecrets: {
  name: guid(vault.id, secretName, principalId, readRoleId)
  scope: readable[index]
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: readRoleId
  }
}]

resource writers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (secretName, index) in writableSecrets: {
  name: guid(vault.id, secretName, principalId, writeRoleId)
  scope: writable[index]
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: writeRoleId
  }
}]

output vaultUri string = vault.properties.vaultUri
