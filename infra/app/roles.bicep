// Roles on single secrets. A scope is a name: neither the template nor a role needs the secret's value.

param vaultName string
param principalId string
@description('Each a secret\'s name and the id of a role. Azure refuses a template of more than 800 resources, so this refuses more.')
@maxLength(800)
param grants array

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName
}

resource secret 'Microsoft.KeyVault/vaults/secrets@2026-02-01' existing = [
  for grant in grants: {
    parent: vault
    name: grant.secret
  }
]

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (grant, index) in grants: {
    name: guid(vault.id, grant.secret, principalId, grant.role)
    scope: secret[index]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: grant.role
    }
  }
]
